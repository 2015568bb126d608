//! Supervision: a process of guard's own for each agent starts it inside its bulkhead, waits for it,
//! starts it again when it has crashed, and gives up when that does not help.
//!
//! The supervisor (`guardctl exec --supervise`) is the agent's parent and works without guardd:
//! guardd may die, or be upgraded, and no agent notices. guardd starts the supervisors of
//! `[agents]`, tells them to stop by SIGTERM, and reads what they write down. A supervisor that was
//! killed is replaced; the new one adopts the running agent, whose exit code it then cannot know.
//! What is ended with an agent is what is in its own cgroup, and never what serves others too.

mod child;
mod policy;
mod report;
mod run;
mod spec;
mod tree;

pub use policy::{Decision, Policy, Restart, Tracker};
pub use report::{End, Report, ReportEvent, State};
pub use run::supervise;
pub use spec::{AgentSpec, CheckpointSpec, HealthSpec, StopSpec};
pub use tree::{alive, start_ticks};
