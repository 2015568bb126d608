//! What the operator asks for, checked. Nothing here touches the host.

use std::time::Duration;

use nix::errno::Errno;

use super::effect::{
    Direction, DnsFailure, Effect, Per, ShareOf, Words, burst_begin, chance, word,
};
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
/// Thinnest link, bits per second: below it, a single large packet takes longer than connects wait.
const BANDWIDTH_MIN: u64 = 8_000;
/// Widest link, bits per second.
const BANDWIDTH_MAX: u64 = 100_000_000_000;

/// How a fault comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// It acts for so long, from its start on, …
    pub on: Duration,
    /// … and then rests for so long.
    pub off: Duration,
}

/// A share of what a fault would be about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Of what.
    pub of: ShareOf,
    /// Above 0, up to 100.
    pub percent: f64,
}

impl Share {
    /// In 1/2^32, as the kernel has it.
    pub fn chance(self) -> u64 {
        chance(self.percent)
    }
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
    /// Only a share of what it would be about.
    pub share: Option<Share>,
    /// Only connections that are opened while it acts.
    pub new_connections_only: bool,
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

/// What a word of a request means; `what` names the field.
fn known<T: Copy>(what: &str, words: &Words<T>, given: &str) -> Result<T, FaultError> {
    words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        wrong(format!("{what} {given:?} is not one of {}", known.join(", ")))
    })
}

fn distribution(name: Option<&str>) -> Result<Distribution, FaultError> {
    let Some(name) = name else { return Ok(Distribution::default()) };
    Distribution::of_name(name).ok_or_else(|| {
        let known = Distribution::ALL.map(Distribution::name).join(", ");
        wrong(format!("distribution {name:?} is not one of {known}"))
    })
}

fn loss(share: f64, burst: Option<f64>, direction: Direction) -> Result<Effect, FaultError> {
    let percent = percent("the loss", share)?;
    let effect = Effect::Loss { percent, burst, direction };
    let Some(length) = burst else { return Ok(effect) };
    if !(1.0..=BURST_MAX).contains(&length) {
        return Err(wrong(format!(
            "the average burst must be between 1 and {BURST_MAX} packets, not {length}"
        )));
    }
    if let Some(problem) = impossible_burst(percent, length) {
        return Err(wrong(format!("{problem}: ask for longer bursts")));
    }
    Ok(effect)
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
        target(request, plan)?;
        let duration = seconds("the duration", request.duration_seconds, DURATION_MAX_SECONDS)?;
        if duration.is_zero() {
            return Err(wrong("a fault needs a duration above 0"));
        }
        let effect = effect(request)?;
        no_lonely_options(request, &effect)?;
        Ok(Self {
            bulkhead: request.bulkhead.clone(),
            service: request.service.clone(),
            start_after: seconds("the start", request.start_after_seconds, DURATION_MAX_SECONDS)?,
            duration,
            share: share(request, &effect)?,
            new_connections_only: match request.connections.as_deref() {
                None => false,
                Some(word) => known("connections", &[("all", false), ("new", true)], word)?,
            },
            effect,
            pulse: pulse(request.pulse_on_seconds, request.pulse_off_seconds)?,
            seed: request.seed.unwrap_or_else(draw_seed),
            drill: request.drill.clone(),
        })
    }
}

/// What is wrong with the effect of a request and what belongs to it, whoever it is about; `None` if
/// nothing is.
pub(crate) fn problem(request: &FaultRequest) -> Option<String> {
    let checked = effect(request).and_then(|effect| {
        no_lonely_options(request, &effect)?;
        share(request, &effect)
    });
    checked.err().map(|error| error.to_string())
}

/// Whose traffic: it must be in the plan, and everything of a bulkhead must be meant.
fn target(request: &FaultRequest, plan: &Plan) -> Result<(), FaultError> {
    let bulkhead = &request.bulkhead;
    if plan.bulkhead(bulkhead).is_none() {
        let known: Vec<_> = plan.bulkheads.iter().map(|b| b.name.as_str()).collect();
        return Err(wrong(format!(
            "no bulkhead is named {bulkhead:?}; there are: {}",
            known.join(", ")
        )));
    }
    match request.service.as_deref() {
        Some(name) if name != OTHER && plan.service(name).is_none() => {
            let known: Vec<_> = plan.services.iter().map(|s| s.name.as_str()).collect();
            Err(wrong(format!(
                "no service is named {name:?}; there are: {}, {OTHER}",
                known.join(", ")
            )))
        }
        // Name queries are few and meant, whoever answers them.
        None if !request.unsafe_all && request.dns.is_none() => Err(wrong(
            "a fault on every service of a bulkhead needs --unsafe-all; name a service with \
             --service to hit just that",
        )),
        _ => Ok(()),
    }
}

fn effect(request: &FaultRequest) -> Result<Effect, FaultError> {
    let direction = match request.direction.as_deref() {
        None => Direction::default(),
        Some(word) => known("direction", Direction::WORDS, word)?,
    };
    let given = [
        request.latency_seconds.is_some(),
        request.loss_percent.is_some(),
        request.refuse_percent.is_some(),
        request.reset_percent.is_some(),
        request.bandwidth_bits_per_second.is_some(),
        request.dns.is_some(),
    ];
    if given.into_iter().filter(|given| *given).count() != 1 {
        return Err(wrong(
            "exactly one of latency, loss, refuse, reset, bandwidth and dns must be given",
        ));
    }
    if let Some(latency) = request.latency_seconds {
        return latency_effect(request, latency);
    }
    if let Some(share) = request.loss_percent {
        return loss(share, request.loss_burst, direction);
    }
    if let Some(share) = request.refuse_percent {
        let percent = percent("the share of refused connects", share)?;
        return Ok(Effect::Refuse { percent, errno: errno(request.errno.as_deref())? });
    }
    if let Some(share) = request.reset_percent {
        return Ok(Effect::Reset { percent: percent("the share of reset requests", share)? });
    }
    if let Some(bits_per_second) = request.bandwidth_bits_per_second {
        if !(BANDWIDTH_MIN..=BANDWIDTH_MAX).contains(&bits_per_second) {
            return Err(wrong(format!(
                "the bandwidth must be between {BANDWIDTH_MIN} and {BANDWIDTH_MAX} bit/s, not \
                 {bits_per_second}"
            )));
        }
        return Ok(Effect::Bandwidth { bits_per_second, direction });
    }
    let failure = request.dns.as_deref().unwrap_or_default();
    Ok(Effect::Dns(known("dns", DnsFailure::WORDS, failure)?))
}

fn latency_effect(request: &FaultRequest, latency: f64) -> Result<Effect, FaultError> {
    let delay = seconds("the latency", latency, LATENCY_MAX_SECONDS)?;
    let jitter = request.jitter_seconds.unwrap_or(0.0);
    let jitter = seconds("the jitter", jitter, LATENCY_MAX_SECONDS)?;
    if delay.is_zero() {
        return Err(wrong("a latency must be above 0"));
    }
    if jitter > delay {
        return Err(wrong(format!(
            "the jitter ({jitter:?}) must not be larger than the latency ({delay:?})"
        )));
    }
    let per = match request.latency_per.as_deref() {
        None => Per::default(),
        Some(word) => known("per", Per::WORDS, word)?,
    };
    let distribution = distribution(request.distribution.as_deref())?;
    Ok(Effect::Latency { delay, jitter, distribution, per })
}

/// Options that say more of an effect that was not asked for are a slip.
fn no_lonely_options(request: &FaultRequest, effect: &Effect) -> Result<(), FaultError> {
    let latency = matches!(effect, Effect::Latency { .. });
    let lonely = [
        (request.jitter_seconds.is_some() && !latency, "jitter goes with a latency only"),
        (request.latency_per.is_some() && !latency, "per goes with a latency only"),
        (
            request.distribution.is_some() && request.jitter_seconds.is_none(),
            "a distribution goes with a jitter only: it says how that is spread",
        ),
        (
            request.loss_burst.is_some() && !matches!(effect, Effect::Loss { .. }),
            "a burst goes with a loss only",
        ),
        (
            request.errno.is_some() && !matches!(effect, Effect::Refuse { .. }),
            "an errno goes with refused connects only",
        ),
        (
            request.direction.is_some() && latency,
            "a latency holds what the bulkhead sends, and has no direction: what has come in cannot \
             be held, and a call waits for one delay either way",
        ),
        (
            request.direction.is_some()
                && !matches!(
                    effect,
                    Effect::Loss { .. } | Effect::Bandwidth { .. } | Effect::Latency { .. }
                ),
            "a direction goes with loss and bandwidth only",
        ),
    ];
    lonely.into_iter().find(|(is_lonely, _)| *is_lonely).map_or(Ok(()), |(_, why)| Err(wrong(why)))
}

fn share(request: &FaultRequest, effect: &Effect) -> Result<Option<Share>, FaultError> {
    let given = match (request.share_of.as_deref(), request.share_percent) {
        (None, None) => None,
        (Some(of), Some(share)) => Some(Share {
            of: known("share of", ShareOf::WORDS, of)?,
            percent: percent("the share", share)?,
        }),
        _ => return Err(wrong("a share needs both: of what, and how many percent")),
    };
    match (given, effect) {
        (None, Effect::Reset { percent }) => {
            Ok(Some(Share { of: ShareOf::Calls, percent: *percent }))
        }
        (Some(_), Effect::Reset { percent }) if *percent < 100.0 => Err(wrong(
            "a share of the requests and another share cannot be combined: leave one out",
        )),
        (Some(Share { of: ShareOf::Calls, .. }), Effect::Refuse { .. } | Effect::Dns(_)) => {
            Err(wrong("a refused connect has no calls: give the share of the connects instead"))
        }
        (Some(Share { of: ShareOf::Calls, .. }), Effect::Latency { per: Per::Connect, .. }) => {
            Err(wrong("a connect has no calls: ask for a share of the connections"))
        }
        (given, _) => Ok(given),
    }
}

impl FaultSpec {
    /// Whether there is traffic and a time that both are about, if both are asked for now.
    pub fn meets(&self, other: &Self) -> bool {
        let end = |spec: &Self| spec.start_after.saturating_add(spec.duration);
        self.bulkhead == other.bulkhead
            && (self.service.is_none() || other.service.is_none() || self.service == other.service)
            && self.start_after < end(other)
            && other.start_after < end(self)
    }

    /// As in `latency 300ms +-50ms for 30% of connections, 5s on 10s off`.
    pub fn text(&self) -> String {
        let mut text = self.effect.text();
        // A share of the requests is in the words of a reset already.
        let of_requests = matches!(self.effect, Effect::Reset { .. });
        if let Some(Share { of, percent }) = self.share
            && !(of_requests && of == ShareOf::Calls)
        {
            text = format!("{text} for {percent}% of {}", word(ShareOf::WORDS, &of));
        }
        if self.new_connections_only {
            text.push_str(" on new connections");
        }
        if let Some(Pulse { on, off }) = self.pulse {
            text = format!("{text}, {on:?} on {off:?} off");
        }
        text
    }
}

#[cfg(test)]
mod tests;
