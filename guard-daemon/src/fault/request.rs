//! What the operator asks for, checked. Nothing here touches the host.

use std::time::Duration;

use guard_common::abi::fault::PROBABILITY_ALWAYS;
use nix::errno::Errno;

use super::error::FaultError;
use crate::control::api::FaultRequest;
use crate::plan::{OTHER, Plan};

/// Longest fault, seconds: a day.
const DURATION_MAX_SECONDS: f64 = 86_400.0;
/// Longest delay of a packet, seconds: TCP gives up on a connect long before.
const LATENCY_MAX_SECONDS: f64 = 60.0;

/// What a fault does.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Each packet that the bulkhead sends is held.
    Latency {
        /// For this long …
        delay: Duration,
        /// … plus or minus up to this, uniformly.
        jitter: Duration,
    },
    /// Packets are dropped, both ways.
    Loss {
        /// Share, above 0, up to 100.
        percent: f64,
    },
    /// Connects fail at once.
    Refuse {
        /// Share, above 0, up to 100.
        percent: f64,
        /// With this errno.
        errno: Errno,
    },
}

/// A checked fault.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultSpec {
    /// Bulkhead.
    pub bulkhead: String,
    /// Service; `None` = all.
    pub service: Option<String>,
    /// Delay before it starts.
    pub start_after: Duration,
    /// How long from its start.
    pub duration: Duration,
    /// What it does.
    pub effect: Effect,
    /// Seed of its random decisions.
    pub seed: u64,
}

/// Errnos that a connect may be refused with, by name.
const ERRNOS: [(&str, Errno); 9] = [
    ("ECONNREFUSED", Errno::ECONNREFUSED),
    ("EHOSTUNREACH", Errno::EHOSTUNREACH),
    ("ENETUNREACH", Errno::ENETUNREACH),
    ("ETIMEDOUT", Errno::ETIMEDOUT),
    ("ECONNRESET", Errno::ECONNRESET),
    ("EHOSTDOWN", Errno::EHOSTDOWN),
    ("ENETDOWN", Errno::ENETDOWN),
    ("EPERM", Errno::EPERM),
    ("EACCES", Errno::EACCES),
];

fn wrong(what: impl Into<String>) -> FaultError {
    FaultError::Request(what.into())
}

/// Seconds as a duration; `what` names the field.
fn seconds(what: &str, value: f64, max: f64) -> Result<Duration, FaultError> {
    if !value.is_finite() || value < 0.0 || value > max {
        return Err(wrong(format!("{what} must be between 0 and {max} s, not {value}")));
    }
    Ok(Duration::from_secs_f64(value))
}

fn percent(what: &str, value: f64) -> Result<f64, FaultError> {
    if value.is_finite() && value > 0.0 && value <= 100.0 {
        Ok(value)
    } else {
        Err(wrong(format!("{what} must be above 0 and at most 100 percent, not {value}")))
    }
}

fn errno(name: Option<&str>) -> Result<Errno, FaultError> {
    let name = name.unwrap_or("ECONNREFUSED");
    ERRNOS.iter().find(|(known, _)| *known == name).map(|(_, errno)| *errno).ok_or_else(|| {
        let known: Vec<_> = ERRNOS.iter().map(|(known, _)| *known).collect();
        wrong(format!("errno {name:?} is not one of {}", known.join(", ")))
    })
}

impl FaultSpec {
    /// Checks a request against the plan. `draw_seed` is called if it names no seed.
    pub fn check(
        request: &FaultRequest,
        plan: &Plan,
        draw_seed: impl FnOnce() -> u64,
    ) -> Result<Self, FaultError> {
        // Destructured, so that a new field cannot be forgotten here.
        let FaultRequest {
            bulkhead,
            service,
            duration_seconds,
            start_after_seconds,
            latency_seconds,
            jitter_seconds,
            loss_percent,
            refuse_percent,
            errno: errno_name,
            seed,
            unsafe_all,
        } = request;
        if plan.bulkhead(bulkhead).is_none() {
            let known: Vec<_> = plan.bulkheads.iter().map(|b| b.name.as_str()).collect();
            return Err(wrong(format!(
                "no bulkhead is named {bulkhead:?}; there are: {}",
                known.join(", ")
            )));
        }
        match service.as_deref() {
            Some(OTHER) => {}
            Some(name) if plan.service(name).is_none() => {
                let known: Vec<_> = plan.services.iter().map(|s| s.name.as_str()).collect();
                return Err(wrong(format!(
                    "no service is named {name:?}; there are: {}, {OTHER}",
                    known.join(", ")
                )));
            }
            None if !unsafe_all => {
                return Err(wrong(
                    "a fault on every service of a bulkhead needs --unsafe-all; name a service \
                     with --service to hit just that",
                ));
            }
            _ => {}
        }
        let duration = seconds("the duration", *duration_seconds, DURATION_MAX_SECONDS)?;
        if duration.is_zero() {
            return Err(wrong("a fault needs a duration above 0"));
        }
        let effect = match (latency_seconds, loss_percent, refuse_percent) {
            (Some(latency), None, None) => {
                let delay = seconds("the latency", *latency, LATENCY_MAX_SECONDS)?;
                let jitter =
                    seconds("the jitter", jitter_seconds.unwrap_or(0.0), LATENCY_MAX_SECONDS)?;
                if delay.is_zero() {
                    return Err(wrong("a latency must be above 0"));
                }
                if jitter > delay {
                    return Err(wrong(format!(
                        "the jitter ({jitter:?}) must not be larger than the latency ({delay:?})"
                    )));
                }
                Effect::Latency { delay, jitter }
            }
            (None, Some(share), None) => Effect::Loss { percent: percent("the loss", *share)? },
            (None, None, Some(share)) => Effect::Refuse {
                percent: percent("the share of refused connects", *share)?,
                errno: errno(errno_name.as_deref())?,
            },
            _ => return Err(wrong("exactly one of latency, loss and refuse must be given")),
        };
        if jitter_seconds.is_some() && !matches!(effect, Effect::Latency { .. }) {
            return Err(wrong("jitter goes with a latency only"));
        }
        if errno_name.is_some() && !matches!(effect, Effect::Refuse { .. }) {
            return Err(wrong("an errno goes with refused connects only"));
        }
        Ok(Self {
            bulkhead: bulkhead.clone(),
            service: service.clone(),
            start_after: seconds("the start", *start_after_seconds, DURATION_MAX_SECONDS)?,
            duration,
            effect,
            seed: seed.unwrap_or_else(draw_seed),
        })
    }
}

impl Effect {
    /// As in `latency 300ms +-50ms`.
    pub fn text(&self) -> String {
        match self {
            Self::Latency { delay, jitter } if jitter.is_zero() => format!("latency {delay:?}"),
            Self::Latency { delay, jitter } => format!("latency {delay:?} +-{jitter:?}"),
            Self::Loss { percent } => format!("loss {percent}%"),
            Self::Refuse { percent, errno } => format!("refuse {percent}% {errno:?}"),
        }
    }

    /// The word for metrics: `latency`, `loss`, `refuse`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "latency",
            Self::Loss { .. } => "loss",
            Self::Refuse { .. } => "refuse",
        }
    }

    /// Chance of a hit in 1/2^32.
    pub fn probability(&self) -> u64 {
        match self {
            Self::Latency { .. } => PROBABILITY_ALWAYS,
            Self::Loss { percent } | Self::Refuse { percent, .. } => {
                (percent / 100.0 * PROBABILITY_ALWAYS as f64).round() as u64
            }
        }
    }
}

#[cfg(test)]
mod tests;
