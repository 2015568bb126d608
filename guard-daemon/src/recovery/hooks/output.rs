//! What a hook says: its first kilobytes are kept, the rest is read and dropped, so that it neither waits
//! for a reader nor fills memory.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes kept.
const KEPT_BYTES: usize = 64 << 10;

/// How long the end of the output is waited for, once its writer has ended.
const LATE: Duration = Duration::from_millis(500);

/// Output that is being read.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<(Mutex<Said>, Condvar)>);

/// What was read so far.
#[derive(Debug, Default)]
struct Said {
    bytes: Vec<u8>,
    ended: bool,
}

impl Kept {
    /// Reads to the end in a thread of its own; the thread ends with the last writer.
    pub(super) fn read(mut from: impl Read + Send + 'static) -> Self {
        let kept =
            Self(Arc::new((Mutex::new(Said { bytes: Vec::new(), ended: false }), Condvar::new())));
        let into = kept.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A read error is an end like any other.
            while let Ok(length @ 1..) = from.read(&mut bytes) {
                let mut into = into.lock();
                let room = KEPT_BYTES.saturating_sub(into.bytes.len()).min(length);
                into.bytes.extend_from_slice(&bytes[..room]);
            }
            into.lock().ended = true;
            into.0.1.notify_all();
        });
        kept
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first line with anything in it, made fit for a log. The writer has ended: what it said last
    /// is waited for, but not whoever else may still hold its output.
    pub(super) fn first_line(&self) -> String {
        let waited = self.0.1.wait_timeout_while(self.lock(), LATE, |kept| !kept.ended);
        let (kept, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept.bytes);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        line.chars().filter(|c| !c.is_control()).take(200).collect()
    }
}
