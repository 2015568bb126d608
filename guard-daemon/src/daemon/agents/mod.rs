//! Agents that guardd runs: it starts a supervisor for each, watches what they write down, and makes
//! checkpoints. Supervisors and agents go on when guardd stops, however it stops; the next
//! guardd finds them by their files in `state_dir/agents`.

mod book;
mod change;
mod checkpoints;
mod freeze;
mod look;
mod start;
mod status;

use std::path::PathBuf;

pub(crate) use book::AgentBook;

use super::state::Guard;

/// Files of one agent in `state_dir/agents`.
struct Files {
    /// What its supervisor is told.
    spec: PathBuf,
    /// What its supervisor writes down.
    report: PathBuf,
    /// Its output.
    log: PathBuf,
    /// There while an operator wants it stopped.
    stopped: PathBuf,
}

impl Guard {
    fn agents_dir(&self) -> PathBuf {
        self.lock().plan.daemon.state_dir.join("agents")
    }

    fn agent_files(&self, name: &str) -> Files {
        let file = |extension: &str| self.agents_dir().join(format!("{name}.{extension}"));
        Files {
            spec: file("spec"),
            report: file("report"),
            log: file("log"),
            stopped: file("stopped"),
        }
    }
}

/// Name of an agent's own cgroup inside its bulkhead's.
fn sub_of(agent: &str) -> String {
    // Names of agents may be as long as those of cgroups for runs.
    let mut name = format!("agent-{agent}");
    name.truncate(63);
    name
}

/// This boot, as supervisors write it down.
fn boot_id() -> &'static str {
    static BOOT_ID: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    BOOT_ID.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        text.trim().to_owned()
    })
}
