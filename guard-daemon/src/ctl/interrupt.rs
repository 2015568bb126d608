//! A person, or whoever stops services, wants a command to end: it ends in good order.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::control::api::ErrorBody;

/// SIGINT, SIGTERM or SIGHUP (a terminal that is closed).
pub(super) struct Interrupt {
    int: Signal,
    term: Signal,
    hup: Signal,
    /// Whether the end of a terminal is nothing to it.
    no_terminal: bool,
}

impl Interrupt {
    /// From now on these signals do not kill this process.
    pub(super) fn new() -> Result<Self, ErrorBody> {
        let listen = |kind| {
            signal(kind).map_err(|error| ErrorBody {
                error: format!("guardctl cannot listen to signals: {error}"),
                help: String::new(),
                exit_code: 1,
            })
        };
        Ok(Self {
            int: listen(SignalKind::interrupt())?,
            term: listen(SignalKind::terminate())?,
            hup: listen(SignalKind::hangup())?,
            no_terminal: false,
        })
    }

    /// The same for a process that has left its terminal: SIGHUP is nothing to it.
    pub(super) fn without_terminal() -> Result<Self, ErrorBody> {
        Ok(Self { no_terminal: true, ..Self::new()? })
    }

    /// Until one of them comes.
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
            _ = self.hup.recv(), if !self.no_terminal => {}
        }
    }
}
