//! What guard tells about itself: logs, metrics, and notes to the service manager. It never decides
//! anything, and never fails the daemon because nobody listens.

pub mod http;
pub mod logs;
pub mod metrics;
pub mod notify;
