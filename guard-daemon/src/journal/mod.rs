//! What guard writes down so that it outlives a crash. Here: the undo log, the list of everything
//! that guard has put on the host, written before it is put there; and a log that only grows, for the
//! incidents.
//!
//! It never removes anything by itself: [`recover`] does, when the next start or
//! `guardctl cleanup` calls it.

mod append;
mod bpffs;
mod line;
mod lock;
mod record;
mod replace;
#[cfg(test)]
mod tests;
mod undo;
mod undo_log;

pub(crate) use append::AppendLog;
pub use bpffs::{BpffsError, OwnBpffs};
pub use record::{Family, Undo};
pub use replace::replace_file;
pub use undo::{UndoError, UndoResult, recover, undo};
pub use undo_log::{Damage, Entry, LogError, Ticket, UndoLog};
