//! Early probes: while a breaker is OPEN because its service was out of reach, guardd tries to connect to
//! it, and once it can, the breaker's own probe may go at the next call, without waiting for the rest of
//! `open_timeout`. Only the answer to that call closes the breaker.
//!
//! It says nothing about services that accept and fail afterwards: those wait for their time. It never acts
//! against a mode of the operator's, a Retry-After, or while a fault of a drill is on the bulkhead.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use guard_common::abi::breaker::STATE_OPEN;
use guard_common::abi::ids::PairKey;
use guard_common::abi::outcome::Outcome;
use guard_common::logic::breaker::word;

use super::Guard;
use crate::daemon::state::State;
use crate::health::incident::{Entry, EntryKind};
use crate::kernel::{OperatorStep, boottime_ns};
use crate::plan::{Action, BreakerMode, StepPlan};

/// Bounds of the pause between two tries; in between it is a share of the time since the trip.
const SOONEST: Duration = Duration::from_millis(500);
const LATEST: Duration = Duration::from_secs(5);
const SHARE: u32 = 10;
/// Patience with one connect.
const PATIENCE: Duration = Duration::from_secs(1);
/// Addresses tried at a time.
const MOST_ADDRESSES: usize = 4;

/// Tries by pair.
#[derive(Debug, Default)]
pub(super) struct Probes(BTreeMap<PairKey, Probing>);

#[derive(Debug)]
struct Probing {
    last: Instant,
    running: bool,
    /// Early probes of this incident: each one that the service then failed doubles the pause.
    granted: u32,
}

impl Probes {
    pub(super) fn forget(&mut self, pairs: &[PairKey]) {
        for pair in pairs {
            self.0.remove(pair);
        }
    }

    /// Whether it is time, and nobody else is at it; from then on somebody is.
    fn begin(&mut self, pair: PairKey, open_for: Duration) -> bool {
        let now = Instant::now();
        let Some(probing) = self.0.get_mut(&pair) else {
            self.0.insert(pair, Probing { last: now, running: true, granted: 0 });
            return true;
        };
        let pause = (open_for / SHARE).clamp(SOONEST, LATEST);
        let pause = pause.saturating_mul(1 << probing.granted.min(6));
        let due = !probing.running && now.duration_since(probing.last) >= pause;
        if due {
            (probing.running, probing.last) = (true, now);
        }
        due
    }

    fn end(&mut self, pair: PairKey, granted: bool) {
        if let Some(probing) = self.0.get_mut(&pair) {
            probing.running = false;
            probing.granted += u32::from(granted);
        }
    }
}

/// Tries to reach the services of those open incidents whose ladder has come to `reset_limits`.
pub(super) fn run(guard: &Arc<Guard>) {
    let now = Instant::now();
    let mut wanted = Vec::new();
    {
        let healing = guard.healing();
        for (target, live) in &healing.targets {
            if let (Some(reached), Some(incident), Some(service)) =
                (live.ladder.reached(), live.incident, &target.service)
            {
                wanted.push((target.clone(), service.clone(), reached, incident));
            }
        }
    }
    for (target, service, reached, incident) in wanted {
        let found = {
            let state = guard.lock();
            let rules = state.plan.recovery.all_rules();
            let armed = rules.iter().find(|rule| rule.name == target.rule).is_some_and(|rule| {
                let steps = rule.steps.iter().take(reached.saturating_add(1));
                let resets = |step: &StepPlan| matches!(step.action, Action::ResetLimits(_));
                !rule.dry_run && steps.into_iter().any(resets)
            });
            if armed { guard.may_probe(&state, &target.bulkhead, &service) } else { None }
        };
        let Some((pair, addresses)) = found else { continue };
        let mut healing = guard.healing();
        let since = healing.open_since.get(&pair).copied().unwrap_or(now);
        if !healing.probes.begin(pair, now.duration_since(since)) {
            continue;
        }
        drop(healing);
        let prober = Arc::clone(guard);
        let begun = thread::Builder::new().name("guard-probe".into()).spawn(move || {
            let reached = reach(&addresses);
            let granted = reached.is_some_and(|at| prober.grant(pair, at, incident));
            prober.healing().probes.end(pair, granted);
        });
        if let Err(error) = begun {
            tracing::warn!(%error, "a service is not tried");
            guard.healing().probes.end(pair, false);
        }
    }
}

/// The first address that takes a connection.
fn reach(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    addresses.iter().copied().find(|at| TcpStream::connect_timeout(at, PATIENCE).is_ok())
}

impl Guard {
    /// The pair and the addresses to try; `None` where an early probe would prove nothing, or may not be.
    pub(super) fn may_probe(
        &self,
        state: &State,
        bulkhead: &str,
        service: &str,
    ) -> Option<(PairKey, Vec<SocketAddr>)> {
        if state.monitor() || !state.faults.ids(Some(bulkhead)).is_empty() {
            return None;
        }
        if state.breaker_plan(bulkhead, service).mode != BreakerMode::Enforce {
            return None;
        }
        let pair = self.pair_of(state, bulkhead, service)?;
        let slot = state.kernel.breaker(pair)?.slot;
        let out_of_reach = failed_to_connect(slot.outcomes);
        let asked = slot.asked_until_ns > boottime_ns();
        if word::state(slot.word) != STATE_OPEN || !out_of_reach || asked {
            return None;
        }
        let addresses = state.addresses_of(service);
        (!addresses.is_empty()).then_some((pair, addresses))
    }

    /// Lets the breaker probe at the next call.
    fn grant(&self, pair: PairKey, at: SocketAddr, incident: u64) -> bool {
        let mut state = self.lock();
        match state.kernel.step_breaker(pair, OperatorStep::ProbeNow) {
            Ok(stepped) => {
                let message = format!("{at} takes connections again: the breaker may probe now");
                tracing::info!(incident, "{message}");
                state.incidents.add(incident, Entry::now(EntryKind::Note, message));
                stepped
            }
            Err(error) => {
                tracing::warn!(%error, "the breaker waits for its time");
                false
            }
        }
    }
}

/// Whether the newest failure of a breaker's last outcomes was one to connect. The newest outcome is
/// lowest, and each is its number and one; those that say nothing of the service are passed over.
fn failed_to_connect(outcomes: u64) -> bool {
    /// Bits of one outcome.
    const BITS: u32 = 4;
    let numbers = (0..u64::BITS / BITS).map(|place| (outcomes >> (BITS * place)) & 0xf);
    let all = numbers.filter_map(|number| {
        Outcome::ALL.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
    });
    let newest = { all }.find(|outcome| outcome.is_failure());
    let connects = [Outcome::Refused, Outcome::Unreachable, Outcome::ConnectTimeout];
    newest.is_some_and(|newest| connects.contains(&newest))
}

impl State {
    /// Where a service can be connected to: addresses with ports, no networks.
    pub(super) fn addresses_of(&self, service: &str) -> Vec<SocketAddr> {
        let Some(service) = self.plan.service(service) else { return Vec::new() };
        let mut addresses = Vec::new();
        for endpoint in &service.endpoints {
            let Some(port) = endpoint.port else { continue };
            let single = self.resolved.current(&endpoint.host);
            addresses.extend(single.into_iter().map(|ip: IpAddr| SocketAddr::new(ip, port)));
        }
        addresses.truncate(MOST_ADDRESSES);
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failed_connects_are_probed_early() {
        let word = |newest: Outcome| (newest as u64 + 1) | (Outcome::Refused as u64 + 1) << 4;
        assert!(failed_to_connect(word(Outcome::Refused)));
        assert!(!failed_to_connect(word(Outcome::Reset)));
        assert!(!failed_to_connect(word(Outcome::ServerError)));
        assert!(failed_to_connect(word(Outcome::Rejected)), "which says nothing");
        assert!(!failed_to_connect(0));
    }

    #[test]
    fn tries_become_rarer_the_longer_it_lasts() {
        let mut probes = Probes::default();
        let pair = PairKey { bulkhead: 1, service: 1 };
        assert!(probes.begin(pair, Duration::ZERO));
        assert!(!probes.begin(pair, Duration::ZERO), "one is at it");
        probes.end(pair, false);
        assert!(!probes.begin(pair, Duration::ZERO), "too soon");
        std::thread::sleep(SOONEST);
        assert!(!probes.begin(pair, Duration::from_mins(5)), "it has been away for long");
        assert!(probes.begin(pair, Duration::ZERO));
    }
}
