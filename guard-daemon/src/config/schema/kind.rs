//! Types and ranges of configuration keys, and the words for them. Ranges are inclusive.

use std::time::Duration;

use super::{Key, MAX_RULES, Names};
use crate::config::text::{duration, rate, size};

/// Type and range of a key.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A number with or without fraction.
    Number {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// `"250ms"`, `"60s"`, `"5m"`, `"1h"`.
    Duration {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// `"512MiB"`; the range is in bytes.
    Size {
        /// Smallest, bytes.
        min: u64,
        /// Largest, bytes.
        max: u64,
    },
    /// `"1Mbit"`; the range is in bits per second.
    Rate {
        /// Smallest, bits per second.
        min: u64,
        /// Largest, bits per second.
        max: u64,
    },
    /// `"150%"`; the range is in percent.
    Percent {
        /// Smallest, percent.
        min: f64,
        /// Largest, percent.
        max: f64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Name of an errno.
    Errno,
    /// Name of a signal.
    Signal,
    /// A name as of services and bulkheads.
    Name,
    /// Name of a bulkhead of this file.
    BulkheadRef,
    /// Name of a service of this file, or `other`.
    ServiceRef,
    /// Name of a bulkhead of this file, or of a systemd unit.
    RestartTarget,
    /// Absolute path of a file or directory.
    AbsolutePath,
    /// Absolute path short enough for a Unix socket.
    SocketPath,
    /// `"auto"` or an absolute path.
    CgroupRoot,
    /// Relative path of normal components, or an absolute pattern.
    CgroupPath,
    /// Socket address, or `"off"`.
    Listen,
    /// A fallback, or a list of them; at least one.
    Fallbacks,
    /// `http://` or `https://` URL.
    Url,
    /// `http://` URL.
    HttpUrl,
    /// One line of text.
    Line {
        /// Fewest characters.
        min: usize,
        /// Most characters.
        max: usize,
    },
    /// A cron expression.
    Calendar,
    /// True or false.
    Flag,
    /// A list of these words, each at most once; at least one.
    Words(&'static [&'static str]),
    /// A list of names of services of this file, or `other`; at least one.
    ServiceRefs,
    /// Endpoints of a service; at least one.
    Endpoints,
    /// Addresses and networks.
    Networks,
    /// A command: absolute path and arguments.
    Argv,
    /// Variables of an environment: a table of texts.
    Environment,
    /// Absolute paths; at least one.
    Paths,
    /// Patterns of file names.
    Globs,
    /// Names as of agents, each at most once.
    Names,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A table of tables, by a name that the user gives.
    Named {
        /// Keys of each entry.
        keys: &'static [Key],
        /// Whose names they are.
        names: Names,
        /// Most entries.
        max: usize,
    },
    /// An array of tables with these keys.
    List(&'static [Key]),
    /// An array of tables, each with exactly one of these actions.
    Steps(&'static [Key]),
}

impl Kind {
    /// The type in words, with an example of how it is written.
    pub fn type_words(&self) -> String {
        match self {
            Self::Integer { .. } => "whole number".into(),
            Self::Number { .. } => "number".into(),
            Self::Duration { .. } => "duration such as \"250ms\", \"60s\", \"5m\", \"1h\"".into(),
            Self::Size { .. } => "size such as \"512MiB\", \"2GiB\"".into(),
            Self::Rate { .. } => "data rate such as \"1Mbit\", \"56kbit\"".into(),
            Self::Percent { .. } => "percentage such as \"150%\"".into(),
            Self::Choice(words) => format!("one of {}", quoted(words)),
            Self::Errno => "errno name such as \"ECONNREFUSED\"".into(),
            Self::Signal => "signal name such as \"SIGTERM\"".into(),
            Self::Name => "name: a-z, 0-9, `_` and `-`, up to 63 characters".into(),
            Self::BulkheadRef => "name of a bulkhead of this file".into(),
            Self::ServiceRef => "name of a service of this file, or \"other\"".into(),
            Self::RestartTarget => "name of a bulkhead of this file, or of a systemd unit".into(),
            Self::AbsolutePath | Self::SocketPath => "absolute path".into(),
            Self::CgroupRoot => "\"auto\" or an absolute path".into(),
            Self::CgroupPath => "relative path such as \"agents/research\", or pattern such as \
                 \"/system.slice/docker-*.scope\""
                .into(),
            Self::Listen => "address and port such as \"127.0.0.1:9729\", or \"off\"".into(),
            Self::Fallbacks => {
                "fallback such as \"127.0.0.1:9000\" or \"static:/srv/cache\", or list of them"
                    .into()
            }
            Self::Url => "URL such as \"http://127.0.0.1:8080/hook\"".into(),
            Self::HttpUrl => "URL such as \"http://127.0.0.1:8080/healthz\"".into(),
            Self::Line { .. } => "text of one line".into(),
            Self::Calendar => "cron expression such as \"0 10 * * MON-FRI\"".into(),
            Self::Flag => "true or false".into(),
            Self::Words(words) => format!("list of {}", quoted(words)),
            Self::ServiceRefs => "list of services such as [\"llm\"]".into(),
            Self::Endpoints => "list of endpoints such as [\"api.example.com:443\"]".into(),
            Self::Networks => "list of addresses or networks such as [\"10.0.0.0/8\"]".into(),
            Self::Argv => "command such as [\"/usr/local/bin/hook\", \"argument\"]".into(),
            Self::Environment => "table of texts such as { MODEL = \"small\" }".into(),
            Self::Paths => "list of absolute paths such as [\"/srv/agent/state\"]".into(),
            Self::Globs => "list of patterns such as [\"*.tmp\"]".into(),
            Self::Names => "list of names such as [\"db-proxy\"]".into(),
            Self::Table(_) => "table".into(),
            Self::Named { .. } => "table of tables, by name".into(),
            Self::List(_) => "array of tables".into(),
            Self::Steps(_) => "list of tables with one action each".into(),
        }
    }

    /// The range in words; empty where the type says it all.
    pub fn range_words(&self) -> String {
        match self {
            Self::Integer { min, max } => format!("{min} to {max}"),
            Self::Number { min, max } => format!("{min} to {max}"),
            Self::Duration { min, max } => {
                format!("{} to {}", duration::format(*min), duration::format(*max))
            }
            Self::Size { min, max } => format!("{} to {}", size::format(*min), size::format(*max)),
            Self::Rate { min, max } => format!("{} to {}", rate::format(*min), rate::format(*max)),
            Self::Percent { min, max } => format!("{min}% to {max}%"),
            Self::SocketPath => "at most 107 bytes, the kernel's limit for Unix sockets".into(),
            Self::CgroupPath => {
                "no `..`, no spaces; `*`, `?`, `[abc]` after a leading `/` only; not inside another \
                 bulkhead's"
                    .into()
            }
            Self::Endpoints => {
                "at least one; host, address or network, with or without port".into()
            }
            Self::HttpUrl => "http:// only; no https://".into(),
            Self::Calendar => {
                "5 fields, from minutes to days of the week; with 6, seconds in front".into()
            }
            Self::Line { min, max } => format!("{min} to {max} characters"),
            Self::Named { max, .. } => format!("at most {max}"),
            Self::List(_) => format!("at most {MAX_RULES}"),
            _ => String::new(),
        }
    }
}

/// `"a", "b", "c"`.
pub(crate) fn quoted(words: &[&str]) -> String {
    words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(", ")
}
