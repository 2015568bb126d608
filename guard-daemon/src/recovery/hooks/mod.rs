//! What guard asks of others when it heals: commands, webhooks, people. Plain functions that block no
//! longer than they may. They never run inside a bulkhead, and nothing that they start outlives them.

mod exec;
mod http;
mod notify;
mod output;

pub use exec::run_exec;
pub use http::post;
pub use notify::notify;

use std::path::Path;
use std::time::Duration;

/// Told of each try that another one follows: its number from 1, why it failed, the pause after it.
pub type Tell<'a> = dyn Fn(u32, &str, Duration) + 'a;

/// How a hook is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookOptions<'a> {
    /// Longest time for all of it, retries with it.
    pub timeout: Duration,
    /// As whom a command runs: USER or USER:GROUP; `None` = as guardd.
    pub user: Option<&'a str>,
    /// The cgroup of this run alone; whoever made it ends what is left in it.
    pub cgroup: Option<&'a Path>,
}
