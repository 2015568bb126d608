//! A call that hangs, and the command that says who waits for what.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Claim, Stage, claim};
use crate::demo::agents::exec;
use crate::demo::daemon::unix_ns;
use crate::demo::setup::SILENT;

const BULKHEAD: &str = "writing";
const WAIT_SECONDS: f64 = 3.0;

/// An agent in `writing` asks a server that never answers.
pub(super) fn run(stage: &mut Stage) -> Result<Vec<Claim>> {
    let address = stage.setup.addresses(SILENT).into_iter().find(std::net::SocketAddr::is_ipv4);
    let address = address.context("the silent service has no address")?;
    let target = format!("http://{address}/think");
    let agent = exec(
        &stage.setup,
        BULKHEAD,
        &["--target", &target, "--payload-bytes", "2000", "--count", "1", "--timeout", "60s"],
    )?;
    let started_ns = unix_ns();
    stage.screen.wait("waiting with it", Duration::from_secs_f64(WAIT_SECONDS))?;
    let said = stage.ctl(&["waits"])?;
    stage.screen.text(&said);
    let answer = stage.ask(&["waits"])?;
    let really = (unix_ns() - started_ns) as f64 / 1e9;
    let waits = answer["waits"].as_array().context("waits: no list")?;
    let wait = waits.iter().find(|wait| wait["pid"] == agent.pid());
    let Some(wait) = wait else {
        return Ok(vec![claim(false, "the hanging call is shown", "it is not in the list")]);
    };
    let word = |name: &str| wait[name].as_str().unwrap_or_default();
    let seconds = wait["seconds"].as_f64().unwrap_or_default();
    let is = [word("bulkhead"), word("service"), word("peer"), word("state")];
    Ok(vec![
        claim(
            is == [BULKHEAD, SILENT, &address.to_string(), "first_byte"],
            format!("{BULKHEAD} waits for {SILENT}, first byte"),
            format!("{} -> {} {}, {}", is[0], is[1], is[2], is[3]),
        ),
        claim(
            // The agent needs a moment to start.
            seconds <= really && seconds > really - 1.5,
            format!("since when: {really:.1} s or a little less"),
            format!("{seconds:.1} s, {} bytes sent", wait["sent_bytes"]),
        ),
    ])
}
