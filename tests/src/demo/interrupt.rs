//! Ctrl-C, SIGTERM and SIGHUP: they ask the demo to end, and never end it in the middle of
//! something that would stay on the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::{Context, Result};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether somebody wants the demo to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on the signals only set the flag. By handlers and not by blocking them: child
    /// processes would inherit that, and guardd would not hear SIGTERM.
    pub(crate) fn install() -> Result<Self> {
        let came = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&came);
        let (ready, installed) = channel();
        thread::spawn(move || {
            if let Err(error) = listen(&flag, &ready) {
                drop(ready.send(Err(error)));
            }
        });
        installed.recv().context("the thread of signals ended")??;
        Ok(Self(came))
    }

    /// Whether a signal came.
    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Waits for signals for ever.
fn listen(flag: &AtomicBool, ready: &Sender<Result<()>>) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let on = |kind| -> Result<Signal> { signal(kind).context("listening to signals") };
        let mut ctrl_c = on(SignalKind::interrupt())?;
        let mut terminate = on(SignalKind::terminate())?;
        let mut hang_up = on(SignalKind::hangup())?;
        ready.send(Ok(()))?;
        loop {
            let name = tokio::select! {
                _ = ctrl_c.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                _ = hang_up.recv() => "SIGHUP",
            };
            let again = flag.swap(true, Ordering::AcqRel);
            let what = if again { "still clearing away" } else { "clearing away" };
            eprintln!("\n{name}: {what}, please wait");
        }
    })
}
