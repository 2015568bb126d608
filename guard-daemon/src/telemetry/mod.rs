//! What guard tells about itself: logs, and notes to the service manager. It never decides
//! anything, and never fails the daemon because nobody listens.

pub mod logs;
pub mod notify;
