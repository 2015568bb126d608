//! Who gets answers of a fallback, since when, and the way back to the service.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use guard_common::abi::breaker::STATE_CLOSED;
use guard_common::abi::ids::PairKey;
use guard_common::logic::breaker::word;

use super::super::cutting::Cut;
use super::super::state::{Guard, State};
use super::Fallbacks;
use crate::observe::with_ids;
use crate::plan::BreakerMode;
use crate::telemetry::metrics::FallbackSample;

/// For how long connections to a fallback that is over go as soon as they are idle. Whoever holds one
/// for longer keeps it until either end closes it.
const LEAVING: Duration = Duration::from_mins(10);
/// How often those are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A pair that uses its fallback.
#[derive(Clone, Debug)]
pub(super) struct Active {
    bulkhead: String,
    service: String,
    since: Instant,
}

/// What it came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Total {
    over: Duration,
    returns: u64,
}

/// Whether the breaker of a pair keeps calls from the service: all of them, or all but probes.
pub(super) fn refuses(state: &State, pair: PairKey) -> bool {
    let Some(view) = state.kernel.breaker(pair) else { return false };
    word::state(view.slot.word) != STATE_CLOSED
}

impl Guard {
    /// Notes whose calls go to a fallback and whose do not any more, and renews what guardd serves.
    pub(in crate::daemon) fn follow_fallbacks(&self, state: &mut State) {
        if let Err(error) = state.serve() {
            tracing::error!(%error, "what guardd serves is not used any more");
        }
        if !state.has_fallbacks() && state.fallbacks.active.is_empty() {
            return;
        }
        let now = self.using(state);
        let over: Vec<PairKey> =
            state.fallbacks.active.keys().filter(|pair| !now.contains_key(pair)).copied().collect();
        for pair in over {
            self.note_over(state, pair);
        }
        for (pair, (bulkhead, service)) in now {
            state.fallbacks.leaving.remove(&pair);
            if state.fallbacks.active.contains_key(&pair) {
                continue;
            }
            tracing::warn!(bulkhead, service, "calls go to the fallback");
            self.events.note("fallback_on", |event| {
                event.bulkhead.clone_from(&bulkhead);
                event.service.clone_from(&service);
                "calls go to the fallback".clone_into(&mut event.message);
            });
            let since = Instant::now();
            state.fallbacks.active.insert(pair, Active { bulkhead, service, since });
        }
        self.cut_leaving(state);
    }

    /// Pairs whose calls go to a fallback now, with their names.
    fn using(&self, state: &State) -> std::collections::BTreeMap<PairKey, (String, String)> {
        let mut using = std::collections::BTreeMap::new();
        if state.monitor() {
            return using;
        }
        for plan in state.plan.services.iter().filter(|s| !s.fallback.places.is_empty()) {
            let service = &plan.name;
            let Some(place) = state.places_of(service).refused else { continue };
            let Some(id) = with_ids(&self.ids, |ids| ids.service_id(service)) else { continue };
            for (bulkhead, live) in &state.bulkheads {
                let pair = PairKey { bulkhead: live.id, service: id };
                let goes = match state.breaker_plan(bulkhead, service).mode {
                    BreakerMode::ForceOpen => true,
                    BreakerMode::Enforce => refuses(state, pair),
                    _ => false,
                };
                if goes || place.forced {
                    using.insert(pair, (bulkhead.clone(), service.clone()));
                }
            }
        }
        using
    }

    fn note_over(&self, state: &mut State, pair: PairKey) {
        let Some(active) = state.fallbacks.active.remove(&pair) else { return };
        let Active { bulkhead, service, since } = active;
        let lasted = since.elapsed();
        let message = if refuses(state, pair) {
            "the breaker is open, and no fallback is used: calls are refused"
        } else {
            "calls go to the service again"
        };
        tracing::warn!(bulkhead, service, seconds = lasted.as_secs_f64(), "{message}");
        self.events.note("fallback_off", |event| {
            event.bulkhead.clone_from(&bulkhead);
            event.service.clone_from(&service);
            event.seconds = Some(lasted.as_secs_f64());
            message.clone_into(&mut event.message);
        });
        let total = state.fallbacks.totals.entry((bulkhead, service)).or_default();
        total.over += lasted;
        total.returns += 1;
        state.fallbacks.leave(pair);
    }

    /// Pooled clients go back: their idle connections to the fallback end, busy ones when they are.
    fn cut_leaving(&self, state: &mut State) {
        let known = &mut state.fallbacks;
        let now = Instant::now();
        known.leaving.retain(|_, until| now < *until);
        let is_due = known.looked.is_none_or(|at| now.duration_since(at) >= LOOK_EVERY);
        if known.leaving.is_empty() || !is_due {
            return;
        }
        known.looked = Some(now);
        let pairs: BTreeSet<PairKey> = known.leaving.keys().copied().collect();
        self.order_cut(Cut::Fallback(pairs));
    }
}

impl Fallbacks {
    /// Connections of a pair to its fallback end from now on, as soon as they are idle.
    fn leave(&mut self, pair: PairKey) {
        self.leaving.insert(pair, Instant::now() + LEAVING);
        // At once.
        self.looked = None;
    }
}

impl State {
    /// The breaker of a pair has closed, maybe so soon after it opened that nobody has seen it.
    pub(in crate::daemon) fn leave_fallback(&mut self, pair: PairKey, service: &str) {
        let plan = self.plan.service(service);
        if plan.is_some_and(|plan| !plan.fallback.places.is_empty()) {
            self.fallbacks.leave(pair);
        }
    }

    /// What `/metrics` and `status` show of each pair that has a fallback.
    pub(in crate::daemon) fn fallback_samples(&self) -> Vec<FallbackSample> {
        let known = &self.fallbacks;
        let with_fallback = self.plan.services.iter().filter(|s| !s.fallback.places.is_empty());
        let mut samples = Vec::new();
        for service in with_fallback {
            for bulkhead in self.bulkheads.keys() {
                let key = (bulkhead.clone(), service.name.clone());
                let total = known.totals.get(&key).copied().unwrap_or_default();
                let own = |a: &&Active| a.bulkhead == *bulkhead && a.service == service.name;
                let active = known.active.values().find(own);
                let seconds = active.map_or(Duration::ZERO, |active| active.since.elapsed());
                samples.push(FallbackSample {
                    bulkhead: bulkhead.clone(),
                    destination: service.name.clone(),
                    active: active.is_some(),
                    seconds: (total.over + seconds).as_secs_f64(),
                    returns: total.returns,
                });
            }
        }
        samples
    }

    /// Whether each service that has fallbacks has one that may be used.
    pub(in crate::daemon) fn fallbacks_usable(&self) -> Vec<(String, bool)> {
        let with_fallback = self.plan.services.iter().filter(|s| !s.fallback.places.is_empty());
        with_fallback.map(|s| (s.name.clone(), self.places_of(&s.name).refused.is_some())).collect()
    }

    /// Whose answers are a fallback's, one line each.
    pub(in crate::daemon) fn fallback_lines(&self) -> Vec<String> {
        let line = |active: &Active| {
            let seconds = active.since.elapsed().as_secs();
            let Active { bulkhead, service, .. } = active;
            format!("{bulkhead} gets answers of the fallback of {service} since {seconds} s")
        };
        self.fallbacks.active.values().map(line).collect()
    }
}
