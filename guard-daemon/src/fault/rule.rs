//! What a checked fault is in the kernel's terms and in those of the engine that holds packets. Pure.

use std::num::NonZeroU64;
use std::time::Duration;

use guard_common::abi::fault::{
    EFFECT_DELAY, EFFECT_DROP, EFFECT_RATE, EFFECT_REFUSE, EFFECT_RESET, ENGINE_EDT,
    ENGINE_NFQUEUE, FaultRule,
};
use guard_common::abi::ids::PairKey;
use guard_common::logic::dns::PORT as DNS_PORT;
use nix::errno::Errno;

use super::effect::{Direction, DnsFailure, Effect};
use super::engine::Engine;
use super::request::FaultSpec;
use crate::net::delay::{DelayProfile, Distribution};

/// What the engine process does with the packets of a fault; `None` if it holds none.
pub(super) fn profile(spec: &FaultSpec) -> Option<DelayProfile> {
    let hold = |delay: Duration, jitter: Duration, distribution: Distribution| DelayProfile {
        delay,
        jitter,
        distribution,
        seed: spec.seed,
        bytes_per_second: None,
    };
    match spec.effect {
        Effect::Latency { delay, jitter, distribution, .. } => {
            Some(hold(delay, jitter, distribution))
        }
        Effect::Bandwidth { bits_per_second, .. } => Some(DelayProfile {
            bytes_per_second: NonZeroU64::new(bits_per_second / 8),
            ..hold(Duration::ZERO, Duration::ZERO, Distribution::default())
        }),
        _ => None,
    }
}

/// The rule of a fault that acts from `start_ns` to `end_ns` (CLOCK_BOOTTIME).
pub(super) fn kernel_rule(
    id: u64,
    spec: &FaultSpec,
    engine: Option<Engine>,
    start_ns: u64,
    end_ns: u64,
    pairs: &[PairKey],
) -> FaultRule {
    let (probability, burst_end) = spec.effect.chances();
    let mut rule = FaultRule {
        id,
        not_before_ns: start_ns,
        expires_at_ns: end_ns,
        seed: spec.seed,
        probability,
        burst_end,
        pulse_on_ns: spec.pulse.map_or(0, |pulse| pulse.on.as_nanos() as u64),
        pulse_period_ns: spec.pulse.map_or(0, |pulse| (pulse.on + pulse.off).as_nanos() as u64),
        any_service: u32::from(spec.service.is_none()),
        packets: spec.effect.packets(),
        new_only: u32::from(spec.new_connections_only),
        service: pairs.first().map_or(0, |pair| pair.service),
        ..FaultRule::default()
    };
    if let Some(share) = spec.share {
        (rule.share_of, rule.share) = (share.of.number(), share.chance());
    }
    let engine = match engine {
        Some(Engine::Nfqueue) => ENGINE_NFQUEUE,
        Some(Engine::Edt) => ENGINE_EDT,
        None => 0,
    };
    match &spec.effect {
        Effect::Latency { delay, jitter, distribution, .. } => {
            rule.effect = EFFECT_DELAY;
            rule.directions = Direction::Egress.bits();
            rule.delay_ns = delay.as_nanos() as u64;
            rule.jitter_ns = jitter.as_nanos() as u64;
            rule.distribution = distribution.id();
            rule.engine = engine;
        }
        Effect::Loss { direction, .. } => {
            rule.effect = EFFECT_DROP;
            rule.directions = direction.bits();
        }
        Effect::Refuse { errno, .. } => {
            rule.effect = EFFECT_REFUSE;
            rule.errno = *errno as u32;
        }
        Effect::Reset { .. } => {
            rule.effect = EFFECT_RESET;
            rule.directions = Direction::Egress.bits();
        }
        Effect::Bandwidth { bits_per_second, direction } => {
            rule.effect = EFFECT_RATE;
            rule.directions = direction.bits();
            rule.rate_bytes_per_second = bits_per_second / 8;
            rule.engine = engine;
        }
        Effect::Dns(DnsFailure::NoAnswer) => {
            rule.effect = EFFECT_DROP;
            rule.directions = Direction::Both.bits();
            rule.port = DNS_PORT;
        }
        Effect::Dns(DnsFailure::Refused) => {
            rule.effect = EFFECT_REFUSE;
            rule.errno = Errno::ECONNREFUSED as u32;
            rule.port = DNS_PORT;
        }
    }
    rule
}
