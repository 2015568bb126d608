//! What a supervisor writes down, for guardd and for the next supervisor: one small file, replaced
//! as a whole.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Events that are kept for guardd to read.
const EVENTS_KEPT: usize = 32;
/// Longest file that is read.
const MOST_BYTES: u64 = 1 << 20;

/// How an agent is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The supervisor has begun, the agent not yet.
    #[default]
    Starting,
    /// It runs.
    Running,
    /// It has ended and will be started again.
    Waiting,
    /// It is asked to end.
    Stopping,
    /// It was ended by an operator, guardd or a signal to the supervisor.
    Stopped,
    /// It has ended by itself and is not started again.
    Ended,
    /// It was started too often; `guardctl agent start` tries again.
    Failed,
}

impl State {
    /// Its word in status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }

    /// Whether the supervisor has nothing more to do.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Ended | Self::Failed)
    }
}

/// How an agent ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// The kernel killed it, or a process of it, for want of memory.
    OutOfMemory,
    /// Its health command failed too often.
    Unhealthy,
    /// It was adopted, so its exit code is not known.
    Unknown,
    /// It could not be started.
    NotStarted(String),
}

impl End {
    /// Whether it counts as a crash.
    pub const fn is_crash(&self) -> bool {
        !matches!(self, Self::Code(0))
    }

    /// The label `reason` of the metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Code(0) => "exit",
            Self::Code(_) => "failure",
            Self::Signal(_) => "signal",
            Self::OutOfMemory => "oom",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
            Self::NotStarted(_) => "not_started",
        }
    }

    /// Every reason.
    pub const REASONS: [&'static str; 7] =
        ["exit", "failure", "signal", "oom", "unhealthy", "unknown", "not_started"];

    /// One line for people.
    pub fn words(&self) -> String {
        match self {
            Self::Code(code) => format!("exit code {code}"),
            Self::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => signal.as_str().to_owned(),
                Err(_) => format!("signal {number}"),
            },
            Self::OutOfMemory => "killed for want of memory".into(),
            Self::Unhealthy => "ended for its failed health checks".into(),
            Self::Unknown => "exit code unknown (it was adopted)".into(),
            Self::NotStarted(why) => format!("not started: {why}"),
        }
    }

    /// The exit code of the supervisor, as shells have it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Code(code) => u8::try_from(*code & 0xff).unwrap_or(1),
            Self::Signal(number) => u8::try_from(128 + (number & 0x7f)).unwrap_or(255),
            Self::OutOfMemory => 137,
            Self::Unhealthy | Self::Unknown => 1,
            Self::NotStarted(_) => 125,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportEvent {
    /// From 1, without gaps, for one supervisor and those after it.
    pub seq: u64,
    /// `agent_started`, `agent_ended`, `agent_restarted`, `agent_failed`, ….
    pub kind: String,
    /// One line for people.
    pub message: String,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How it is.
    pub state: State,
    /// The boot that all of it is about.
    pub boot_id: String,
    /// Process id of the supervisor, and when that began (clock ticks since boot).
    pub supervisor: (u32, u64),
    /// The same of the agent, while it runs.
    pub agent: Option<(u32, u64)>,
    /// Since when it is in this state: RFC 3339.
    pub since: String,
    /// Restarts, by reason, since the first start of this boot.
    pub restarts: std::collections::BTreeMap<String, u64>,
    /// How it ended last.
    pub last_end: Option<End>,
    /// The latest events.
    pub events: Vec<ReportEvent>,
}

impl Report {
    /// Reads it; `None` if there is none, or none that can be read.
    pub fn read(path: &Path) -> Option<Self> {
        let length = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?.len();
        if length > MOST_BYTES {
            return None;
        }
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Writes it.
    ///
    /// # Errors
    /// If it cannot be written; the one before is there then.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(std::io::Error::other("a report needs a file name"));
        };
        let json = serde_json::to_vec(self).map_err(std::io::Error::other)?;
        crate::journal::replace_file(directory, &name.to_string_lossy(), &json)
    }

    /// Adds an event.
    pub fn note(&mut self, kind: &str, message: String) {
        let seq = self.events.last().map_or(0, |event| event.seq) + 1;
        self.events.push(ReportEvent { seq, kind: kind.to_owned(), message });
        let too_many = self.events.len().saturating_sub(EVENTS_KEPT);
        self.events.drain(..too_many);
    }

    /// Restarts for all reasons.
    pub fn restart_count(&self) -> u64 {
        self.restarts.values().sum()
    }
}
