//! Holds an agent still for a bounded time. A thread of its own lets it go: when the work is done,
//! when it fails or panics, and when the time is over, also while the work hangs in the kernel.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::CheckpointError;

/// Who can stop the processes of an agent.
pub trait Freezer: Send {
    /// Stops them; comes back when none runs any more, in bounded time. After an error they run.
    ///
    /// # Errors
    /// Why they do not stand still.
    fn freeze(&mut self) -> Result<(), String>;

    /// Lets them go on.
    ///
    /// # Errors
    /// Why they may still stand still.
    fn thaw(&mut self) -> Result<(), String>;
}

/// How a freeze ended.
#[derive(Debug)]
pub struct Thawed {
    /// How long the agent stood still.
    pub frozen: Duration,
    /// Whether it was let go because its time was over.
    pub overdue: bool,
}

/// An agent that stands still; dropped, it is let go.
pub(super) struct Frozen {
    done: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<Thawed, String>>>,
    /// Until when.
    pub(super) deadline: Instant,
}

impl Frozen {
    /// Freezes.
    pub(super) fn begin(
        mut freezer: Box<dyn Freezer>,
        limit: Duration,
    ) -> Result<Self, CheckpointError> {
        let since = Instant::now();
        freezer.freeze().map_err(CheckpointError::Freeze)?;
        let (done, ended) = channel::<()>();
        let left = limit.saturating_sub(since.elapsed());
        // In a cell that both the thread and a failure to start it can reach.
        let shared = std::sync::Arc::new(std::sync::Mutex::new(freezer));
        let its = std::sync::Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("guard-thaw".into()).spawn(move || {
            // Told, or hung up: either way the work is over.
            let overdue =
                ended.recv_timeout(left) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            let mut freezer = its.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            freezer.thaw()?;
            Ok(Thawed { frozen: since.elapsed(), overdue })
        });
        match thread {
            Ok(thread) => {
                Ok(Self { done: Some(done), thread: Some(thread), deadline: since + limit })
            }
            Err(error) => {
                let mut freezer = shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let thawed = freezer.thaw().err().unwrap_or_default();
                Err(CheckpointError::Freeze(format!("no thread to thaw with: {error} {thawed}")))
            }
        }
    }

    /// Lets it go.
    pub(super) fn end(mut self) -> Result<Thawed, CheckpointError> {
        self.finish()
            .unwrap_or_else(|| Err("it was let go before".into()))
            .map_err(CheckpointError::Freeze)
    }

    fn finish(&mut self) -> Option<Result<Thawed, String>> {
        drop(self.done.take());
        let thread = self.thread.take()?;
        Some(thread.join().unwrap_or_else(|_| Err("the thread that thaws panicked".into())))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.finish() {
            tracing::error!(error, "an agent may still stand still");
        }
    }
}
