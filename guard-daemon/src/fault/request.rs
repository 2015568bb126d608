//! What the operator asks for, checked. Nothing here touches the host.

use std::time::Duration;

use guard_common::abi::fault::PROBABILITY_ALWAYS;
use nix::errno::Errno;

use super::error::FaultError;
use crate::control::api::FaultRequest;
use crate::net::delay::Distribution;
use crate::plan::{OTHER, Plan};

/// Longest fault, seconds: a day.
const DURATION_MAX_SECONDS: f64 = 86_400.0;
/// Longest delay of a packet, seconds: TCP gives up on a connect long before.
const LATENCY_MAX_SECONDS: f64 = 60.0;

/// Shortest part of a pulse: below it, what happens depends on the moment of each packet.
const PULSE_MIN: Duration = Duration::from_millis(10);
/// Longest average burst of losses, packets.
const BURST_MAX: f64 = 10_000.0;

/// What a fault does.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Each packet that the bulkhead sends is held.
    Latency {
        /// For this long …
        delay: Duration,
        /// … plus or minus this …
        jitter: Duration,
        /// … spread like this.
        distribution: Distribution,
    },
    /// Packets are dropped, both ways.
    Loss {
        /// Share, above 0, up to 100.
        percent: f64,
        /// How many are lost in a row on average; `None` = each by itself.
        burst: Option<f64>,
    },
    /// Connects fail at once.
    Refuse {
        /// Share, above 0, up to 100.
        percent: f64,
        /// With this errno.
        errno: Errno,
    },
}

/// How a fault comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// It acts for so long, from its start on, …
    pub on: Duration,
    /// … and then rests for so long.
    pub off: Duration,
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
    /// It comes and goes.
    pub pulse: Option<Pulse>,
    /// Seed of its random decisions.
    pub seed: u64,
    /// Id of the drill that it is a part of.
    pub drill: Option<String>,
}

/// Errnos that a connect may be refused with, by name.
pub(crate) const ERRNOS: [(&str, Errno); 9] = [
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

fn pulse(on: Option<f64>, off: Option<f64>) -> Result<Option<Pulse>, FaultError> {
    let (Some(on), Some(off)) = (on, off) else {
        return match (on, off) {
            (None, None) => Ok(None),
            _ => Err(wrong("a pulse needs both times: how long it acts, and how long it rests")),
        };
    };
    let pulse = Pulse {
        on: seconds("the time that a pulse acts", on, DURATION_MAX_SECONDS)?,
        off: seconds("the time that a pulse rests", off, DURATION_MAX_SECONDS)?,
    };
    if pulse.on < PULSE_MIN || pulse.off < PULSE_MIN {
        return Err(wrong(format!("a pulse acts and rests for {PULSE_MIN:?} at least")));
    }
    Ok(Some(pulse))
}

fn known(distribution: Option<&str>) -> Result<Distribution, FaultError> {
    let Some(name) = distribution else { return Ok(Distribution::default()) };
    Distribution::of_name(name).ok_or_else(|| {
        let known = Distribution::ALL.map(Distribution::name).join(", ");
        wrong(format!("distribution {name:?} is not one of {known}"))
    })
}

fn loss(share: f64, burst: Option<f64>) -> Result<Effect, FaultError> {
    let percent = percent("the loss", share)?;
    let Some(length) = burst else { return Ok(Effect::Loss { percent, burst }) };
    if !(1.0..=BURST_MAX).contains(&length) {
        return Err(wrong(format!(
            "the average burst must be between 1 and {BURST_MAX} packets, not {length}"
        )));
    }
    if let Some(problem) = impossible_burst(percent, length) {
        return Err(wrong(format!("{problem}: ask for longer bursts")));
    }
    Ok(Effect::Loss { percent, burst })
}

/// Why bursts of `burst` packets on average cannot lose `percent` of all; `None` if they can.
pub(crate) fn impossible_burst(percent: f64, burst: f64) -> Option<String> {
    (burst_begin(percent, burst) > 1.0).then(|| {
        let most = 100.0 * burst / (burst + 1.0);
        format!(
            "bursts of {burst} packets with one packet between them lose {most:.0}%, not {percent}%"
        )
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
            distribution,
            loss_percent,
            loss_burst,
            refuse_percent,
            errno: errno_name,
            pulse_on_seconds,
            pulse_off_seconds,
            seed,
            unsafe_all,
            drill,
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
                Effect::Latency { delay, jitter, distribution: known(distribution.as_deref())? }
            }
            (None, Some(share), None) => loss(*share, *loss_burst)?,
            (None, None, Some(share)) => Effect::Refuse {
                percent: percent("the share of refused connects", *share)?,
                errno: errno(errno_name.as_deref())?,
            },
            _ => return Err(wrong("exactly one of latency, loss and refuse must be given")),
        };
        if jitter_seconds.is_some() && !matches!(effect, Effect::Latency { .. }) {
            return Err(wrong("jitter goes with a latency only"));
        }
        if distribution.is_some() && jitter_seconds.is_none() {
            return Err(wrong(
                "a distribution goes with a jitter only: it says how that is spread",
            ));
        }
        if loss_burst.is_some() && !matches!(effect, Effect::Loss { .. }) {
            return Err(wrong("a burst goes with a loss only"));
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
            pulse: pulse(*pulse_on_seconds, *pulse_off_seconds)?,
            seed: seed.unwrap_or_else(draw_seed),
            drill: drill.clone(),
        })
    }
}

impl FaultSpec {
    /// As in `latency 300ms +-50ms, 5s on 10s off`.
    pub fn text(&self) -> String {
        match self.pulse {
            Some(Pulse { on, off }) => format!("{}, {on:?} on {off:?} off", self.effect.text()),
            None => self.effect.text(),
        }
    }
}

impl Effect {
    /// As in `latency 300ms +-50ms`.
    pub fn text(&self) -> String {
        match self {
            Self::Latency { delay, jitter, .. } if jitter.is_zero() => format!("latency {delay:?}"),
            Self::Latency { delay, jitter, distribution: Distribution::Uniform } => {
                format!("latency {delay:?} +-{jitter:?}")
            }
            Self::Latency { delay, jitter, distribution } => {
                format!("latency {delay:?} +-{jitter:?} {}", distribution.name())
            }
            Self::Loss { percent, burst: None } => format!("loss {percent}%"),
            Self::Loss { percent, burst: Some(burst) } => {
                format!("loss {percent}% in bursts of {burst}")
            }
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

    /// Chances of the kernel's rule, in 1/2^32: of a hit, or with bursts of a burst's begin; and
    /// of a burst's end (0 = none). See `guard_common::logic::burst`.
    pub fn chances(&self) -> (u64, u64) {
        // Never 0, which would be a fault that does nothing.
        let of = |share: f64| ((share * PROBABILITY_ALWAYS as f64).round() as u64).max(1);
        match *self {
            Self::Latency { .. } => (PROBABILITY_ALWAYS, 0),
            Self::Loss { percent, burst: None } | Self::Refuse { percent, .. } => {
                (of(percent / 100.0), 0)
            }
            Self::Loss { percent, burst: Some(burst) } => {
                (of(burst_begin(percent, burst)), of(1.0 / burst))
            }
        }
    }
}

/// Chance that a burst begins after a packet that was not lost, so that in the long run the share
/// is lost: the bad state lasts `burst` packets, the good one has to last the rest.
fn burst_begin(percent: f64, burst: f64) -> f64 {
    let share = percent / 100.0;
    share / (burst * (1.0 - share))
}

#[cfg(test)]
mod tests;
