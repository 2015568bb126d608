//! Limits of bulkheads: what the daemon allows, written into slots that the hooks read, and what is,
//! read from the same slots. Here nothing is decided.

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::time::Duration;

use aya::maps::{HashMap, MapData};
use guard_common::abi::ids::PairKey;
use guard_common::abi::limits::{LimitSlot, ONE_RETRY, RetryBudget, SERVICE_ALL, why};
use guard_common::abi::pacing::BULKHEAD_ALL;
use guard_common::logic::retry;

use super::clock::boottime_ns;
use super::error::KernelError;
use super::load::Kernel;
use super::shared::SharedArray;

/// All that the daemon knows of the limits in the kernel.
pub(super) struct Limits {
    pub(super) of_pair: HashMap<MapData, PairKey, u32>,
    pub(super) slots: SharedArray,
    pub(super) budget: SharedArray,
    pub(super) known: Known,
}

/// What was written.
#[derive(Default)]
pub(super) struct Known {
    places: BTreeMap<PairKey, u32>,
    /// Places without a pair. Connections may still be counted at them.
    free: Vec<u32>,
    used: u32,
}

/// What a (bulkhead, service) or, with [`SERVICE_ALL`], a bulkhead may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitPolicy {
    /// Connections open at once; 0 = no limit.
    pub max_connections: u32,
    /// Retries in a window, or `RETRIES_UNLIMITED`.
    pub max_retries: u32,
    /// The window, ns; 0 = the default.
    pub retry_window_ns: u64,
    /// Whether retries are taken from the host's budget too.
    pub budgeted: bool,
    /// `BLOCKED_*`.
    pub blocked: u32,
    /// What a rejected call gets.
    pub errno: u32,
    /// How fast calls may begin.
    pub pace: PacePolicy,
}

/// How fast the calls of a slot may begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacePolicy {
    /// Time between two, ns; 0 = no limit.
    pub interval_ns: u64,
    /// How far they may be ahead of that, ns.
    pub burst_ns: u64,
    /// Of a pair: for how long a call is held at most, ns.
    pub max_wait_ns: u64,
    /// Of a pair: `PACE_*`.
    pub engine: u32,
}

/// The limits of a pair as they are now.
#[derive(Clone, Copy, Debug)]
pub struct LimitView {
    /// Whose.
    pub pair: PairKey,
    /// Not a snapshot: other CPUs go on while it is read.
    pub slot: LimitSlot,
}

impl Kernel {
    /// Writes what is allowed until there are exactly these slots. Counts of those that stay are not
    /// touched. Fails when there are more than fit, before anything is changed.
    pub fn set_limits(
        &mut self,
        wanted: &BTreeMap<PairKey, LimitPolicy>,
    ) -> Result<(), KernelError> {
        let breakers = &self.breakers;
        let limits = &mut self.limits;
        let capacity = limits.slots.entries();
        if wanted.len() > capacity {
            return Err(KernelError::Full { what: "limits", wanted: wanted.len(), capacity });
        }
        let known = limits.known.places.keys().copied();
        let gone: Vec<PairKey> = known.filter(|pair| !wanted.contains_key(pair)).collect();
        for pair in gone {
            limits.remove(pair)?;
        }
        // Those of whole bulkheads, and of services, first: the others name them.
        for all in [true, false] {
            for (pair, policy) in wanted {
                if (pair.service == SERVICE_ALL || pair.bulkhead == BULKHEAD_ALL) == all {
                    limits.put(*pair, policy, breakers.place(*pair))?;
                }
            }
        }
        Ok(())
    }

    /// The bulkhead's programs are gone, or are about to be attached anew: connections that were
    /// counted for it count no more.
    pub fn forget_limits(&mut self, bulkhead: u32) -> Result<(), KernelError> {
        let of = |pair: &&PairKey| pair.bulkhead == bulkhead;
        let pairs: Vec<_> = self.limits.known.places.keys().filter(of).copied().collect();
        pairs.into_iter().try_for_each(|pair| self.limits.remove(pair))
    }

    /// All limits, by pair.
    pub fn limits(&self) -> Vec<LimitView> {
        let limits = &self.limits;
        let places = limits.known.places.iter();
        places
            .filter_map(|(pair, place)| {
                Some(LimitView { pair: *pair, slot: limits.read(*place as usize)? })
            })
            .collect()
    }

    /// Lets a pair's window of retries begin anew; how many retries it had counted. `None` if the pair
    /// has no limits.
    pub fn reset_retries(&self, pair: PairKey) -> Option<u32> {
        let limits = &self.limits;
        let at = *limits.known.places.get(&pair)? as usize;
        let window_ns = limits.slots.word(at, offset_of!(LimitSlot, retry_window_ns))?;
        let window_ns = retry::window_ns(window_ns.load(Acquire));
        // A hook that counts one meanwhile tries again, and counts it in the new window.
        let old = limits.slots.word(at, offset_of!(LimitSlot, window))?.swap(0, AcqRel);
        Some(retry::made(old, boottime_ns(), window_ns))
    }

    /// Adds to the host's budget of retries, up to `most`, and lets it be believed for `valid` from
    /// now on; both in thousandths of a retry.
    pub fn fill_retry_budget(&self, more: u64, most: u64, valid: Duration) {
        let budget = &self.limits.budget;
        let word = |offset| budget.word(0, offset);
        let (Some(left), Some(until)) =
            (word(offset_of!(RetryBudget, left)), word(offset_of!(RetryBudget, until_ns)))
        else {
            return;
        };
        // A hook may take one meanwhile: then it is tried again.
        let fill = |left: u64| Some(left.saturating_add(more).min(most.max(ONE_RETRY)));
        if left.fetch_update(AcqRel, Acquire, fill).is_err() {
            tracing::debug!("nothing was added");
        }
        let valid_ns = u64::try_from(valid.as_nanos()).unwrap_or(u64::MAX);
        until.store(boottime_ns().saturating_add(valid_ns), Release);
    }

    /// Retries that the host's budget has left, in thousandths.
    pub fn retry_budget_left(&self) -> u64 {
        let left = self.limits.budget.word(0, offset_of!(RetryBudget, left));
        left.map_or(0, |left| left.load(Acquire))
    }
}

impl Limits {
    /// Learns what is in the maps already: the limits of an earlier life.
    pub(super) fn find(&mut self) -> Result<(), KernelError> {
        for entry in &self.of_pair {
            let (pair, place) = entry.map_err(KernelError::map("LIMIT_OF_PAIR", "listing"))?;
            self.known.places.insert(pair, place);
            self.known.used = self.known.used.max(place + 1);
        }
        let taken: Vec<u32> = self.known.places.values().copied().collect();
        self.known.free = (0..self.known.used).filter(|place| !taken.contains(place)).collect();
        Ok(())
    }

    fn put(
        &mut self,
        pair: PairKey,
        policy: &LimitPolicy,
        breaker: Option<u32>,
    ) -> Result<(), KernelError> {
        let known = self.known.places.get(&pair).copied();
        let place = known.or_else(|| self.take_free()).unwrap_or(self.known.used);
        let at = place as usize;
        if at >= self.slots.entries() {
            let capacity = self.slots.entries();
            return Err(KernelError::Full { what: "limits", wanted: at + 1, capacity });
        }
        let all = PairKey { service: SERVICE_ALL, ..pair };
        let whole = self.known.places.get(&all).filter(|_| pair != all);
        let of_service = PairKey { bulkhead: BULKHEAD_ALL, ..pair };
        let shared = self.known.places.get(&of_service).filter(|_| pair != of_service);
        if known.is_none() {
            self.clear(at);
        }
        for (offset, value) in [
            (offset_of!(LimitSlot, max_connections), policy.max_connections),
            (offset_of!(LimitSlot, max_retries), policy.max_retries),
            (offset_of!(LimitSlot, errno), policy.errno),
            (offset_of!(LimitSlot, blocked), policy.blocked),
            (offset_of!(LimitSlot, whole), whole.map_or(0, |place| place + 1)),
            (offset_of!(LimitSlot, shared), shared.map_or(0, |place| place + 1)),
            (offset_of!(LimitSlot, pace_engine), policy.pace.engine),
            (offset_of!(LimitSlot, budgeted), u32::from(policy.budgeted)),
            (offset_of!(LimitSlot, breaker), breaker.map_or(0, |place| place + 1)),
        ] {
            if let Some(half) = self.slots.half(at, offset) {
                half.store(value, Release);
            }
        }
        for (offset, value) in [
            (offset_of!(LimitSlot, retry_window_ns), policy.retry_window_ns),
            (offset_of!(LimitSlot, pace_interval_ns), policy.pace.interval_ns),
            (offset_of!(LimitSlot, pace_burst_ns), policy.pace.burst_ns),
            (offset_of!(LimitSlot, pace_max_wait_ns), policy.pace.max_wait_ns),
        ] {
            if let Some(word) = self.slots.word(at, offset) {
                word.store(value, Release);
            }
        }
        if known.is_none() {
            self.of_pair
                .insert(pair, place, 0)
                .map_err(KernelError::map("LIMIT_OF_PAIR", "writing"))?;
            self.known.used = self.known.used.max(place + 1);
            self.known.places.insert(pair, place);
        }
        Ok(())
    }

    /// A place at which no connection of an earlier pair is counted any more.
    fn take_free(&mut self) -> Option<u32> {
        let connections = offset_of!(LimitSlot, connections);
        let is_empty = |place: &u32| {
            self.slots.word(*place as usize, connections).is_some_and(|n| n.load(Acquire) == 0)
        };
        let at = self.known.free.iter().position(is_empty)?;
        Some(self.known.free.swap_remove(at))
    }

    fn clear(&self, at: usize) {
        let from = offset_of!(LimitSlot, connections);
        for offset in (from..size_of::<LimitSlot>()).step_by(size_of::<u64>()) {
            if let Some(word) = self.slots.word(at, offset) {
                word.store(0, Release);
            }
        }
    }

    fn remove(&mut self, pair: PairKey) -> Result<(), KernelError> {
        self.of_pair.remove(&pair).map_err(KernelError::map("LIMIT_OF_PAIR", "removing"))?;
        self.known.free.extend(self.known.places.remove(&pair));
        Ok(())
    }

    fn read(&self, at: usize) -> Option<LimitSlot> {
        let word = |offset| Some(self.slots.word(at, offset)?.load(Acquire));
        let half = |offset| Some(self.slots.half(at, offset)?.load(Acquire));
        let mut rejected = [0; why::COUNT];
        for (place, value) in rejected.iter_mut().enumerate() {
            *value = word(offset_of!(LimitSlot, rejected) + place * size_of::<u64>())?;
        }
        Some(LimitSlot {
            max_connections: half(offset_of!(LimitSlot, max_connections))?,
            max_retries: half(offset_of!(LimitSlot, max_retries))?,
            retry_window_ns: word(offset_of!(LimitSlot, retry_window_ns))?,
            errno: half(offset_of!(LimitSlot, errno))?,
            blocked: half(offset_of!(LimitSlot, blocked))?,
            connections: word(offset_of!(LimitSlot, connections))?,
            window: word(offset_of!(LimitSlot, window))?,
            retries: word(offset_of!(LimitSlot, retries))?,
            rejected,
            would_have: word(offset_of!(LimitSlot, would_have))?,
            pace_interval_ns: word(offset_of!(LimitSlot, pace_interval_ns))?,
            pace_burst_ns: word(offset_of!(LimitSlot, pace_burst_ns))?,
            pace_max_wait_ns: word(offset_of!(LimitSlot, pace_max_wait_ns))?,
            pace_due_ns: word(offset_of!(LimitSlot, pace_due_ns))?,
            paced: word(offset_of!(LimitSlot, paced))?,
            paced_ns: word(offset_of!(LimitSlot, paced_ns))?,
            pace_over: word(offset_of!(LimitSlot, pace_over))?,
            pace_would: word(offset_of!(LimitSlot, pace_would))?,
            pace_engine: half(offset_of!(LimitSlot, pace_engine))?,
            ..LimitSlot::default()
        })
    }
}
