//! Drills: experiments with injected faults, by a file, that always end and give a verdict.
//!
//! The way: `drill.toml` → `file` (text to a [`Drill`], or every error at once) → `run` (asks guardd
//! over its control socket: the plan, the faults, what is counted; judges) → a [`Record`] → `results`
//! (files for people and tools). It runs in guardctl, with the rights of the operator: a drill's
//! commands and HTTP requests must not become guardd's. guardd ties the faults to the control
//! connection, and the kernel ends them at their deadline: nothing here is needed for a fault to end.

pub mod file;
pub mod record;
pub mod results;
pub mod run;
pub mod spec;

pub use file::LoadedDrill;
pub use record::Record;
pub use spec::Drill;
