//! Breakers: the plan's settings into the kernel, and the kernel's transitions to the log, the
//! events and the metrics, in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use guard_common::abi::breaker::{
    BREAKER_ENFORCE, BREAKER_FORCE_CLOSED, BREAKER_FORCE_OPEN, BREAKER_MONITOR, BREAKER_OFF,
    BreakerPolicy, MAX_OPEN_NS, PPM, REASON_NAMES, STATE_CLOSED, STATE_OPEN, Transition,
    WINDOW_BUCKETS,
};
use guard_common::abi::ids::PairKey;
use guard_common::logic::breaker::timing::open_times;
use guard_common::logic::breaker::word;

use super::error::DaemonError;
use super::state::{Guard, State};
use crate::kernel::{BreakerView, wall_of_boottime_ns};
use crate::observe::{SharedIds, with_ids};
use crate::plan::{BreakerMode, BreakerPlan, OTHER, OpenAction, Protocol, ServiceClass};

/// The word for a `STATE_*`.
pub(super) fn state_name(state: u32) -> &'static str {
    ["closed", "open", "half_open"].get(state as usize).copied().unwrap_or("unknown")
}

/// The word for a `reason::*`.
pub(super) fn reason_name(reason: u32) -> &'static str {
    REASON_NAMES.get(reason as usize).copied().unwrap_or("unknown")
}

/// How often each transition happened, for metrics: bulkhead, service, from, to, reason.
pub(crate) type TransitionCounts = BTreeMap<(String, String, u32, u32, u32), u64>;

/// The settings as the kernel wants them.
pub(super) fn policy(plan: &BreakerPlan, protocol: Protocol) -> BreakerPolicy {
    let ns = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let windowed = plan.success_rate_below > 0.0 || !plan.slow_after.is_zero();
    BreakerPolicy {
        open_ns: open_times(ns(plan.open_timeout), plan.backoff, ns(plan.max_open_timeout)),
        // A probe that says nothing for as long as the breaker was open makes way for another.
        probe_ns: ns(plan.open_timeout),
        bucket_ns: if windowed { ns(plan.window) / WINDOW_BUCKETS as u64 } else { 0 },
        slow_ns: ns(plan.slow_after),
        abandoned_ns: ns(plan.abandoned_after),
        hold_ns: match plan.open_action {
            OpenAction::Hold => ns(plan.hold_max),
            OpenAction::Refuse => 0,
        },
        retry_after_ns: ns(plan.max_retry_after).min(MAX_OPEN_NS),
        failure_threshold: plan.failure_threshold,
        half_open_calls: plan.half_open_calls,
        min_calls: plan.min_calls,
        min_success_ppm: ppm(plan.success_rate_below),
        max_slow_ppm: if plan.slow_after.is_zero() { 0 } else { ppm(plan.slow_share) },
        jitter_ppm: ppm(plan.jitter),
        mode: mode(plan.mode),
        errno: plan.errno as u32,
        connect_succeeds: u32::from(protocol == Protocol::Tcp),
        pad: 0,
    }
}

fn ppm(share: f64) -> u32 {
    (share * f64::from(PPM)).round() as u32
}

const fn mode(mode: BreakerMode) -> u32 {
    match mode {
        BreakerMode::Enforce => BREAKER_ENFORCE,
        BreakerMode::Monitor => BREAKER_MONITOR,
        BreakerMode::ForceOpen => BREAKER_FORCE_OPEN,
        BreakerMode::ForceClosed => BREAKER_FORCE_CLOSED,
        BreakerMode::Off => BREAKER_OFF,
    }
}

impl State {
    /// The breaker of a bulkhead for a service as it is in force: the plan's, with the mode that the
    /// operator has set since.
    pub(crate) fn breaker_plan(&self, bulkhead: &str, service: &str) -> BreakerPlan {
        let class = self.plan.service(service).map_or(ServiceClass::Generic, |s| s.class);
        let mut plan = self.plan.breakers.of(bulkhead, service, class);
        let key = (bulkhead.to_owned(), service.to_owned());
        if let Some(mode) = self.breaker_modes.get(&key) {
            plan.mode = *mode;
        }
        plan
    }

    /// Writes the breakers and limits of all bulkheads and services. `other` is many services at once,
    /// of which one must not shut out the rest: it has a breaker only where the file names it.
    pub(crate) fn write_breakers(&mut self, ids: &SharedIds) -> Result<(), DaemonError> {
        let mut wanted = BTreeMap::new();
        let mut pairs = BTreeMap::new();
        for (bulkhead, live) in &self.bulkheads {
            let services = self.plan.services.iter().map(|service| service.name.as_str());
            for service in services.chain([OTHER]) {
                let protocol =
                    self.plan.service(service).map_or(Protocol::Auto, |service| service.protocol);
                let mut ids = ids.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                let id = ids.service(service);
                drop(ids);
                let pair = PairKey { bulkhead: live.id, service: id };
                pairs.insert(pair, (bulkhead.clone(), service.to_owned()));
                let mut plan = self.breaker_plan(bulkhead, service);
                if service == OTHER && !self.has_other(bulkhead) {
                    if self.plan.limits.of_pair(bulkhead, service).retries.is_none() {
                        continue;
                    }
                    // It judges nothing, but it remembers failures, which make calls retries.
                    plan.mode = BreakerMode::Off;
                }
                wanted.insert(pair, policy(&plan, protocol));
            }
        }
        self.kernel.set_breakers(&wanted)?;
        self.write_limits(&pairs)?;
        self.write_hygiene(&pairs)?;
        self.cut_rules = Arc::new(self.cut_rules(&pairs));
        self.write_control()
    }

    /// Whether a bulkhead has a breaker for `other`.
    pub(super) fn has_other(&self, bulkhead: &str) -> bool {
        self.plan.breakers.of_pairs.contains_key(&(bulkhead.to_owned(), OTHER.to_owned()))
    }
}

impl Guard {
    /// Tells everybody of the transitions since the last call.
    pub(crate) fn report_transitions(&self, state: &mut State) {
        let untold = state.kernel.untold_transitions();
        if untold.lost > 0 {
            tracing::error!(
                lost = untold.lost,
                "transitions of breakers were overwritten before they could be read; states are right"
            );
        }
        for transition in &untold.list {
            self.report(state, transition);
        }
        state.kernel.transitions_told(&untold);
        if !untold.list.is_empty() {
            self.follow_fallbacks(state);
        }
    }

    fn report(&self, state: &mut State, transition: &Transition) {
        let pair = transition.pair;
        let (bulkhead, service) = with_ids(&self.ids, |ids| {
            (ids.bulkhead_name(pair.bulkhead).to_owned(), ids.service_name(pair.service).to_owned())
        });
        let (from, to) = (word::state(transition.old), word::state(transition.new));
        let reason = reason_name(transition.reason);
        let generation = word::generation(transition.new);
        tracing::warn!(
            bulkhead,
            service,
            from = state_name(from),
            to = state_name(to),
            reason,
            generation,
            "breaker"
        );
        let still = |view: BreakerView| word::generation(view.slot.word) == generation;
        if to == STATE_OPEN && state.kernel.breaker(pair).is_some_and(still) {
            self.cut_pool(state, pair, &bulkhead, &service);
        }
        if to == STATE_CLOSED {
            state.leave_fallback(pair, &service);
        }
        let key = (bulkhead.clone(), service.clone(), from, to, transition.reason);
        *state.transition_counts.entry(key).or_default() += 1;
        let wall_ns = wall_of_boottime_ns(transition.time_ns);
        self.events.note("breaker", |event| {
            if let Ok(time) = jiff::Timestamp::from_nanosecond(wall_ns) {
                event.time = time.to_string();
            }
            event.bulkhead = bulkhead;
            event.service = service;
            event.message = format!(
                "{} -> {}: {reason} (generation {generation})",
                state_name(from),
                state_name(to)
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_five_failures_and_a_minute() {
        let kernel = policy(&ServiceClass::Generic.breaker(), Protocol::Auto);
        assert_eq!((kernel.failure_threshold, kernel.half_open_calls), (5, 1));
        assert!(kernel.open_ns.iter().all(|ns| *ns == 60_000_000_000), "no backoff");
        assert_eq!((kernel.bucket_ns, kernel.min_success_ppm), (0, 0), "no rule on the window");
        assert_eq!((kernel.mode, kernel.connect_succeeds), (BREAKER_ENFORCE, 0));
    }

    #[test]
    fn a_class_with_a_rate_has_a_window() {
        let kernel = policy(&ServiceClass::Tool.breaker(), Protocol::Tcp);
        assert_eq!((kernel.bucket_ns, kernel.min_success_ppm), (7_500_000_000, 500_000));
        assert_eq!((kernel.jitter_ppm, kernel.connect_succeeds), (200_000, 1));
        assert_eq!(kernel.open_ns[..3], [5, 10, 20].map(|seconds| seconds * 1_000_000_000));
    }
}
