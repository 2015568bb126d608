//! Waiting for something to become true, with a deadline. It never sleeps longer than needed to
//! see the change, and never waits for ever.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::timing;

/// Asks every 2 ms (in the scale of [`timing`], as the limit) until `ready` says yes; after `limit` an
/// error that names `what`.
pub fn until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<Duration> {
    let (start, limit) = (Instant::now(), timing::at_most(limit));
    loop {
        if ready() {
            return Ok(start.elapsed());
        }
        if start.elapsed() >= limit {
            bail!("waited {limit:?} in vain for: {what}");
        }
        thread::sleep(timing::at_most(Duration::from_millis(2)));
    }
}
