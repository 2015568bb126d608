//! What a hook says: its first kilobytes are kept, the rest is read and dropped, so that it neither waits
//! for a reader nor fills memory.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Bytes kept.
const KEPT_BYTES: usize = 64 << 10;
/// Longest time for one round of reading: a hook that floods must not keep its timeout from coming.
const ROUND: Duration = Duration::from_millis(50);

/// Output that is being read, without waiting for it: no thread or descriptor stays behind for what a
/// process that has left the hook's group may still write.
#[derive(Debug)]
pub(super) struct Kept<R> {
    from: Option<R>,
    bytes: Vec<u8>,
}

impl<R: Read + AsFd> Kept<R> {
    /// Of this pipe, if there is one.
    pub(super) fn of(from: Option<R>) -> Self {
        let from = from.filter(|pipe| match fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)) {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, "the output of a hook is not read");
                false
            }
        });
        Self { from, bytes: Vec::new() }
    }

    /// Reads what is there now; whether that was anything.
    pub(super) fn read(&mut self) -> bool {
        let Some(from) = &mut self.from else { return false };
        let (begin, mut buffer, mut any) = (Instant::now(), [0; 16 << 10], false);
        loop {
            match from.read(&mut buffer) {
                Ok(length @ 1..) => {
                    let room = KEPT_BYTES.saturating_sub(self.bytes.len()).min(length);
                    self.bytes.extend_from_slice(&buffer[..room]);
                    any = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return any,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The end; an error is one like any other.
                Ok(0) | Err(_) => {
                    self.from = None;
                    return any;
                }
            }
            if begin.elapsed() >= ROUND {
                return any;
            }
        }
    }

    /// The first line with anything in it, made fit for a log.
    pub(super) fn first_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        line.chars().filter(|c| !c.is_control()).take(200).collect()
    }
}
