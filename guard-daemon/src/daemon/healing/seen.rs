//! What a look sees: everything that detectors need, taken in one go, so that the state is locked once
//! and shortly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use guard_common::abi::breaker::STATE_CLOSED;
use guard_common::abi::ids::PairKey;
use guard_common::abi::limits::SERVICE_ALL;
use guard_common::logic::breaker::word;

use super::{Guard, Healing, Target, Whose};
use crate::cgroup::limits::Usage;
use crate::daemon::state::State;
use crate::health::Refused;
use crate::kernel::{BreakerView, Counters};
use crate::observe::with_ids;
use crate::plan::{Detector, RulePlan};

/// One look.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) rules: Vec<RulePlan>,
    pub(super) bulkheads: BTreeMap<String, BulkheadSeen>,
    pub(super) services: BTreeSet<String>,
    pub(super) counters: Counters,
    pub(super) breakers: BTreeMap<PairKey, BreakerView>,
    pub(super) names: BTreeMap<PairKey, (String, String)>,
    /// The longest wait of each pair, where a rule asks for it.
    pub(super) waits: BTreeMap<(String, String), f64>,
    /// Calls that limits have refused so far, where a rule asks for it.
    pub(super) refused: BTreeMap<Whose, Refused>,
    /// What active faults are about.
    pub(super) faulted: BTreeSet<Whose>,
}

/// A bulkhead of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BulkheadSeen {
    pub(super) memory_pressure: Option<f64>,
    pub(super) oom_kills: Option<u64>,
}

impl Seen {
    /// Whether a fault is at work on a target.
    pub(super) fn is_faulted(&self, target: &Target) -> bool {
        self.faulted.iter().any(|(bulkhead, service)| {
            *bulkhead == target.bulkhead && (service.is_none() || *service == target.service)
        })
    }
}

impl Guard {
    /// Looks; `None` where nothing is to be healed, or the kernel cannot be read.
    pub(super) fn see(&self) -> Option<Seen> {
        let state = self.lock();
        let rules = state.plan.recovery.all_rules();
        // Incidents of rules that are gone are still to be ended.
        if rules.is_empty() && state.incidents.active().next().is_none() {
            return None;
        }
        let counters = match state.kernel.counters() {
            Ok(counters) => counters,
            Err(error) => {
                tracing::error!(%error, "nothing is healed: the counters cannot be read");
                return None;
            }
        };
        let about = |wanted: fn(&Detector) -> bool| {
            rules.iter().flat_map(|rule| &rule.detectors).any(wanted)
        };
        let memory =
            about(|d| matches!(d, Detector::MemoryPressureAbove(_) | Detector::OutOfMemory));
        let bulkheads = state
            .bulkheads
            .iter()
            .map(|(name, live)| {
                let usage = if memory { live.cgroup.usage() } else { Usage::default() };
                let pressure = usage.pressures().find(|(name, _)| *name == "memory");
                let seen = BulkheadSeen {
                    memory_pressure: pressure.map(|(_, pressure)| pressure.some.avg10),
                    oom_kills: usage.memory.map(|memory| memory.oom_kill),
                };
                (name.clone(), seen)
            })
            .collect();
        let refused = if about(|d| matches!(d, Detector::LimitRefusalsAbove(_))) {
            self.refused_so_far(&state)
        } else {
            BTreeMap::new()
        };
        let faulted = state.faults.targets();
        let faulted = faulted.map(|(b, s)| (b.to_owned(), s.map(str::to_owned))).collect();
        let services = state.plan.services.iter().map(|service| service.name.clone()).collect();
        let breakers: BTreeMap<PairKey, BreakerView> = state
            .kernel
            .breakers()
            .into_iter()
            .filter(|view| {
                word::state(view.slot.word) != STATE_CLOSED || counters.contains_key(&view.pair)
            })
            .map(|view| (view.pair, view))
            .collect();
        drop(state);
        let waits = if about(|d| matches!(d, Detector::StalledFor(_))) {
            self.longest_waits()
        } else {
            BTreeMap::new()
        };
        let pairs = counters.keys().chain(breakers.keys()).copied().collect::<BTreeSet<_>>();
        let names = with_ids(&self.ids, |ids| {
            let name = |pair: &PairKey| {
                let bulkhead = ids.bulkhead_name(pair.bulkhead).to_owned();
                (bulkhead, ids.service_name(pair.service).to_owned())
            };
            pairs.iter().map(|pair| (*pair, name(pair))).collect()
        });
        Some(Seen {
            rules,
            bulkheads,
            services,
            counters,
            breakers,
            names,
            waits,
            refused,
            faulted,
        })
    }

    /// Of each bulkhead and service, and of each bulkhead as a whole.
    fn refused_so_far(&self, state: &State) -> BTreeMap<Whose, Refused> {
        let mut refused: BTreeMap<Whose, Refused> = BTreeMap::new();
        for (name, live) in &state.bulkheads {
            let pressure = state.kernel.pressure_refused(live.id).unwrap_or(0);
            refused.insert((name.clone(), None), Refused::by_pressure(pressure));
        }
        let limits = state.kernel.limits();
        with_ids(&self.ids, |ids| {
            for view in limits.iter().filter(|view| view.pair.service != SERVICE_ALL) {
                let bulkhead = ids.bulkhead_name(view.pair.bulkhead).to_owned();
                let of_pair = Refused::by_limits(view.slot.rejected);
                // What bulkheads share for a service is nobody's.
                let Some(whole) = refused.get_mut(&(bulkhead.clone(), None)) else { continue };
                *whole = whole.plus(of_pair);
                let service = ids.service_name(view.pair.service).to_owned();
                refused.insert((bulkhead, Some(service)), of_pair);
            }
        });
        refused
    }

    pub(super) fn longest_waits(&self) -> BTreeMap<(String, String), f64> {
        let waits = match self.waits_now() {
            Ok(waits) => waits,
            Err(error) => {
                tracing::warn!(%error, "calls that hang are not seen");
                return BTreeMap::new();
            }
        };
        let mut longest: BTreeMap<(String, String), f64> = BTreeMap::new();
        let hangs = |state: &str| matches!(state, "first_byte" | "unacknowledged" | "quiet");
        for wait in waits.waits.into_iter().filter(|wait| hangs(&wait.state)) {
            let entry = longest.entry((wait.bulkhead, wait.service)).or_default();
            *entry = entry.max(wait.seconds);
        }
        longest
    }

    /// Time goes into the totals.
    pub(super) fn observe(&self, seen: &Seen, elapsed: Option<Duration>, save: bool) {
        let seconds = elapsed.unwrap_or_default().as_secs_f64();
        let mut state = self.lock();
        state.incidents.observed(seen.names.values().cloned(), seconds);
        if save {
            state.incidents.save_totals();
        }
    }
}

impl Healing {
    /// Keeps what the next looks need of this one.
    pub(super) fn take_in(&mut self, seen: &Seen, now: Instant) {
        let longest =
            seen.rules.iter().map(|rule| rule.window).max().unwrap_or(Duration::from_secs(30));
        for (pair, stats) in &seen.counters {
            self.windows.entry(*pair).or_default().push(stats, now, longest);
        }
        for (whose, refused) in &seen.refused {
            self.refusals.entry(whose.clone()).or_default().push(*refused, now, longest);
        }
        self.refusals.retain(|whose, _| seen.refused.contains_key(whose));
        self.windows.retain(|pair, _| seen.counters.contains_key(pair));
        for (pair, view) in &seen.breakers {
            if word::state(view.slot.word) == STATE_CLOSED {
                self.open_since.remove(pair);
            } else {
                self.open_since.entry(*pair).or_insert(now);
            }
        }
        self.open_since.retain(|pair, _| seen.breakers.contains_key(pair));
    }
}
