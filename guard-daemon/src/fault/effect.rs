//! What a fault does, apart from whose traffic it is about and when; and what that is in the kernel's
//! numbers.

use std::time::Duration;

use guard_common::abi::fault::{
    DIRECTION_EGRESS, DIRECTION_INGRESS, PACKET_CONNECT, PACKET_PAYLOAD, PACKET_TCP,
    PROBABILITY_ALWAYS, SHARE_OF_CALLS, SHARE_OF_CONNECTIONS, SHARE_OF_DESTINATIONS,
};
use nix::errno::Errno;

use crate::config::text::rate;
use crate::net::delay::Distribution;

/// What a fault does.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Packets that the bulkhead sends are held.
    Latency {
        /// For this long …
        delay: Duration,
        /// … plus or minus this …
        jitter: Duration,
        /// … spread like this.
        distribution: Distribution,
        /// Which packets.
        per: Per,
    },
    /// Packets are dropped.
    Loss {
        /// Share, above 0, up to 100.
        percent: f64,
        /// How many are lost in a row on average; `None` = each by itself.
        burst: Option<f64>,
        /// Which way.
        direction: Direction,
    },
    /// Connects fail at once.
    Refuse {
        /// Share, above 0, up to 100.
        percent: f64,
        /// With this errno.
        errno: Errno,
    },
    /// Requests on open connections are answered with a TCP reset.
    Reset {
        /// Share of the requests, above 0, up to 100.
        percent: f64,
    },
    /// A thin link, shared by all connections that the fault is about.
    Bandwidth {
        /// Bits (of IP packets) per second and direction.
        bits_per_second: u64,
        /// Which way.
        direction: Direction,
    },
    /// Name queries (port 53) fail.
    Dns(DnsFailure),
}

/// Which packets a latency holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// Each: a connect and each call take one delay longer, downloads get slower.
    #[default]
    Packet,
    /// The SYN: a connect takes one delay longer, calls on open connections as long as ever.
    Connect,
    /// Those with payload: a call takes one delay longer to its first byte, and no more.
    FirstByte,
}

/// Which way traffic goes, seen from the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    #[default]
    Both,
    /// What the bulkhead sends.
    Egress,
    /// What it receives.
    Ingress,
}

/// How name queries fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsFailure {
    /// Nobody answers.
    NoAnswer,
    /// As if no resolver listened: the send fails with ECONNREFUSED.
    Refused,
}

/// Of what a fault is about a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareOf {
    /// Calls, drawn one by one.
    Calls,
    /// Connections: one that is drawn stays so for the whole fault.
    Connections,
    /// Destinations (address and port), likewise.
    Destinations,
}

/// A word of a request, and what it means.
pub(super) type Words<T> = [(&'static str, T)];

impl Per {
    pub(super) const WORDS: &'static Words<Self> =
        &[("packet", Self::Packet), ("connect", Self::Connect), ("first_byte", Self::FirstByte)];
}

impl Direction {
    pub(super) const WORDS: &'static Words<Self> =
        &[("both", Self::Both), ("egress", Self::Egress), ("ingress", Self::Ingress)];

    /// `DIRECTION_*` bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Both => DIRECTION_EGRESS | DIRECTION_INGRESS,
            Self::Egress => DIRECTION_EGRESS,
            Self::Ingress => DIRECTION_INGRESS,
        }
    }
}

impl DnsFailure {
    pub(super) const WORDS: &'static Words<Self> =
        &[("no_answer", Self::NoAnswer), ("refused", Self::Refused)];
}

impl ShareOf {
    pub(super) const WORDS: &'static Words<Self> = &[
        ("calls", Self::Calls),
        ("connections", Self::Connections),
        ("destinations", Self::Destinations),
    ];

    /// `SHARE_OF_*`.
    pub const fn number(self) -> u32 {
        match self {
            Self::Calls => SHARE_OF_CALLS,
            Self::Connections => SHARE_OF_CONNECTIONS,
            Self::Destinations => SHARE_OF_DESTINATIONS,
        }
    }
}

/// The word for a value.
pub(super) fn word<T: PartialEq>(words: &Words<T>, value: &T) -> &'static str {
    words.iter().find(|(_, of)| of == value).map_or("", |(word, _)| word)
}

/// A share in percent as the kernel has it, in 1/2^32. Never 0, which would be a fault that does
/// nothing.
pub(super) fn chance(percent: f64) -> u64 {
    ((percent / 100.0 * PROBABILITY_ALWAYS as f64).round() as u64).max(1)
}

impl Effect {
    /// As in `latency 300ms +-50ms`.
    pub fn text(&self) -> String {
        let way = |direction: Direction| match direction {
            Direction::Both => String::new(),
            one => format!(" {}", word(Direction::WORDS, &one)),
        };
        match self {
            Self::Latency { delay, jitter, distribution, per } => {
                let mut text = format!("latency {delay:?}");
                if !jitter.is_zero() {
                    text = format!("{text} +-{jitter:?}");
                    if *distribution != Distribution::Uniform {
                        text = format!("{text} {}", distribution.name());
                    }
                }
                match per {
                    Per::Packet => text,
                    per => format!("{text} per {}", word(Per::WORDS, per)),
                }
            }
            Self::Loss { percent, burst: None, direction } => {
                format!("loss {percent}%{}", way(*direction))
            }
            Self::Loss { percent, burst: Some(burst), direction } => {
                format!("loss {percent}% in bursts of {burst}{}", way(*direction))
            }
            Self::Refuse { percent, errno } => format!("refuse {percent}% {errno:?}"),
            Self::Reset { percent } => format!("reset {percent}%"),
            Self::Bandwidth { bits_per_second, direction } => {
                format!("bandwidth {}{}", rate::format(*bits_per_second), way(*direction))
            }
            Self::Dns(failure) => format!("dns {}", word(DnsFailure::WORDS, failure)),
        }
    }

    /// The word for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "latency",
            Self::Loss { .. } => "loss",
            Self::Refuse { .. } => "refuse",
            Self::Reset { .. } => "reset",
            Self::Bandwidth { .. } => "bandwidth",
            Self::Dns(_) => "dns",
        }
    }

    /// Longest time that an engine has to hold a packet; `None` if none is needed.
    pub fn longest_hold(&self) -> Option<Duration> {
        match self {
            Self::Latency { delay, jitter, distribution, .. } => {
                Some(distribution.longest(*delay, *jitter))
            }
            Self::Bandwidth { direction, .. } if *direction != Direction::Ingress => {
                Some(Duration::from_nanos(guard_common::abi::fault::RATE_QUEUE_NS))
            }
            _ => None,
        }
    }

    /// `PACKET_*` bits that a packet must have.
    pub fn packets(&self) -> u32 {
        match self {
            Self::Latency { per: Per::Connect, .. } => PACKET_CONNECT,
            Self::Latency { per: Per::FirstByte, .. } => PACKET_PAYLOAD,
            Self::Reset { .. } => PACKET_PAYLOAD | PACKET_TCP,
            _ => 0,
        }
    }

    /// Chances of the kernel's rule, in 1/2^32: of a hit, or with bursts of a burst's begin; and
    /// of a burst's end (0 = none). See `guard_common::logic::burst`.
    pub fn chances(&self) -> (u64, u64) {
        match *self {
            Self::Loss { percent, burst: None, .. } | Self::Refuse { percent, .. } => {
                (chance(percent), 0)
            }
            Self::Loss { percent, burst: Some(burst), .. } => {
                (chance(100.0 * burst_begin(percent, burst)), chance(100.0 / burst))
            }
            // A share of the requests is drawn request by request, not packet by packet.
            Self::Latency { .. } | Self::Reset { .. } | Self::Bandwidth { .. } | Self::Dns(_) => {
                (PROBABILITY_ALWAYS, 0)
            }
        }
    }
}

/// Chance that a burst begins after a packet that was not lost, so that in the long run the share
/// is lost: the bad state lasts `burst` packets, the good one has to last the rest.
pub(super) fn burst_begin(percent: f64, burst: f64) -> f64 {
    let share = percent / 100.0;
    share / (burst * (1.0 - share))
}
