//! What a hook says: its first kilobytes are kept, the rest is read and dropped, so that it neither waits
//! for a reader nor fills memory.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Bytes kept.
const KEPT_BYTES: usize = 64 << 10;

/// Output that is being read.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    /// Reads to the end in a thread of its own; the thread ends with the last writer.
    pub(super) fn read(mut from: impl Read + Send + 'static) -> Self {
        let kept = Self::default();
        let into = kept.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A read error is an end like any other.
            while let Ok(length @ 1..) = from.read(&mut bytes) {
                let mut into = into.0.lock().unwrap_or_else(PoisonError::into_inner);
                let room = KEPT_BYTES.saturating_sub(into.len()).min(length);
                into.extend_from_slice(&bytes[..room]);
            }
        });
        kept
    }

    /// The first line with anything in it, made fit for a log.
    pub(super) fn first_line(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        line.chars().filter(|c| !c.is_control()).take(200).collect()
    }
}
