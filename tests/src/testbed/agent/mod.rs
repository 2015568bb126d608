//! A small agent: it makes calls over plain sockets and reports each one exactly, with the errno
//! that the kernel gave. It never retries and never hides a failure.

mod call;
mod record;
mod remote;
mod run;
mod samples;
mod target;

pub use call::{CallOptions, Caller};
pub use record::{Record, Summary};
pub use remote::AgentProcess;
pub use run::{Agent, Plan, Sink, Step};
pub use target::{Protocol, Target};
