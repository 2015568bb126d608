//! How the calls of each (bulkhead, service) go, and the incidents of those that go badly.
//!
//! Data: counters and breakers (`kernel`), stalls, memory and agents' ends → windows → detectors
//! (`recovery`); what these find and do is written down as incidents. It decides nothing itself.

pub mod incident;
mod refusals;
mod window;

pub use refusals::{Refusals, Refused};
pub use window::{Span, Window};
