//! Breakers: which there are, how they judge, and what the operator does to them. Transitions are
//! made by the hooks; here only those that the operator asks for, by the same steps on the same
//! words.

use std::collections::{BTreeMap, HashMap as StdHashMap, HashSet};
use std::mem::offset_of;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::time::{Duration, Instant};

use aya::maps::{Array, HashMap, MapData};
use guard_common::abi::breaker::{
    BreakerPolicy, BreakerSlot, MAX_POLICIES, PROBE_RESULTS, STATE_CLOSED, TRANSITIONS_KEPT,
    Transition, WINDOW_BUCKETS,
};
use guard_common::abi::ids::PairKey;
use guard_common::logic::breaker as machine;

use super::clock::boottime_ns;
use super::error::KernelError;
use super::load::Kernel;
use super::shared::SharedArray;

/// All that the daemon knows of the breakers in the kernel.
pub(super) struct Breakers {
    pub(super) of_pair: HashMap<MapData, PairKey, u32>,
    pub(super) policies: Array<MapData, BreakerPolicy>,
    pub(super) slots: SharedArray,
    pub(super) transitions: SharedArray,
    pub(super) transition_count: SharedArray,
    pub(super) ended: HashMap<MapData, u64, u32>,
    pub(super) known: Known,
}

/// What was written.
#[derive(Default)]
pub(super) struct Known {
    places: BTreeMap<PairKey, u32>,
    free: Vec<u32>,
    used: u32,
    policy_places: StdHashMap<BreakerPolicy, u32>,
    /// Number of a transition that somebody is writing down, and since when that is known.
    unfinished: Option<(u64, Instant)>,
}

/// Transitions that nobody was told of yet.
#[derive(Debug, Default)]
pub struct Transitions {
    /// In the order in which they were written down.
    pub list: Vec<Transition>,
    /// How many were overwritten before they could be read.
    pub lost: u64,
    /// Number of the first that is not in the list.
    next: u64,
}

/// One breaker as it is now.
#[derive(Clone, Copy, Debug)]
pub struct BreakerView {
    /// Whose.
    pub pair: PairKey,
    /// Its slot; not a snapshot: other CPUs go on while it is read.
    pub slot: BreakerSlot,
}

/// What a breaker had counted and has forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Failures in a row.
    pub failures: u64,
    /// Calls in its window.
    pub calls: u64,
}

/// What the operator may do to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorStep {
    /// Open it.
    Trip,
    /// Close it.
    Reset,
    /// If it is OPEN, let it probe at the next call.
    ProbeNow,
}

const WORD: usize = offset_of!(BreakerSlot, word);
/// After how long nobody is writing down a transition any more.
const UNFINISHED: Duration = Duration::from_secs(1);
/// Entries of the map of transition counts.
const WRITTEN: usize = 0;
const TOLD: usize = 1;

impl Kernel {
    /// Makes, changes and removes breakers until there are exactly these. States of those that stay
    /// are not touched. Fails when there are more than fit, before anything is changed.
    pub fn set_breakers(
        &mut self,
        wanted: &BTreeMap<PairKey, BreakerPolicy>,
    ) -> Result<(), KernelError> {
        let capacity = self.breakers.slots.entries();
        if wanted.len() > capacity {
            return Err(KernelError::Full { what: "breakers", wanted: wanted.len(), capacity });
        }
        let places = self.breakers.place_policies(wanted)?;
        let gone: Vec<PairKey> = self
            .breakers
            .known
            .places
            .keys()
            .filter(|pair| !wanted.contains_key(pair))
            .copied()
            .collect();
        for pair in gone {
            self.breakers.remove(pair)?;
        }
        for (pair, policy) in wanted {
            let Some(policy_place) = places.get(policy) else { continue };
            self.breakers.put(*pair, *policy_place)?;
        }
        Ok(())
    }

    /// Every breaker, by pair.
    pub fn breakers(&self) -> Vec<BreakerView> {
        let breakers = &self.breakers;
        let places = breakers.known.places.iter();
        places.filter_map(|(pair, place)| breakers.view(*pair, *place as usize)).collect()
    }

    /// The breaker of a pair, if it has one.
    pub fn breaker(&self, pair: PairKey) -> Option<BreakerView> {
        let place = self.breakers.known.places.get(&pair)?;
        self.breakers.view(pair, *place as usize)
    }

    /// Whether any breaker is not CLOSED.
    pub fn any_breaker_acts(&self) -> bool {
        let breakers = &self.breakers;
        breakers.known.places.values().any(|place| {
            let word = breakers.slots.word(*place as usize, WORD);
            word.is_some_and(|word| machine::word::state(word.load(Acquire)) != STATE_CLOSED)
        })
    }

    /// Tells the hooks why guard is about to end the socket with this cookie (`ENDED_*`).
    pub fn note_end(&mut self, cookie: u64, why: u32) -> Result<(), KernelError> {
        self.breakers.ended.insert(cookie, why, 0).map_err(KernelError::map("ENDED", "writing"))
    }

    /// Does what the operator asks for; false if there is no such breaker. It is one step of the
    /// machine, written down like any other.
    pub fn step_breaker(&mut self, pair: PairKey, step: OperatorStep) -> Result<bool, KernelError> {
        let breakers = &self.breakers;
        let place = breakers.known.places.get(&pair).map(|place| *place as usize);
        let found =
            place.and_then(|at| Some((breakers.slots.word(at, WORD)?, breakers.view(pair, at)?)));
        let Some((word, BreakerView { slot, .. })) = found else { return Ok(false) };
        let policy = breakers
            .policies
            .get(&slot.policy, 0)
            .map_err(KernelError::map("BREAKER_POLICIES", "reading"))?;
        let seed = u64::from(slot.seed);
        let event = match step {
            OperatorStep::Trip => machine::Event::OperatorTrip,
            OperatorStep::Reset => machine::Event::OperatorReset,
            OperatorStep::ProbeNow => machine::Event::ProbeNow,
        };
        let mut old = word.load(Acquire);
        loop {
            let now_ns = boottime_ns();
            let next = machine::step(old, &policy, now_ns, seed, event);
            match word.compare_exchange(old, next.word, AcqRel, Acquire) {
                Ok(_) => {
                    if next.reason != 0 {
                        breakers.write_down(pair, now_ns, old, next.word, next.reason);
                    }
                    return Ok(true);
                }
                Err(found) => old = found,
            }
        }
    }

    /// Lets a CLOSED breaker forget its failures in a row and its window; what these were. The others
    /// stay as they are: a breaker that is OPEN was tripped, and not by what it counts now.
    pub fn forget_counts(&self, pair: PairKey) -> Option<Forgotten> {
        let breakers = &self.breakers;
        let at = breakers.place(pair)? as usize;
        let word = breakers.slots.word(at, WORD)?;
        let policy = breakers.policies.get(&breakers.view(pair, at)?.slot.policy, 0).ok()?;
        let old = word.fetch_update(AcqRel, Acquire, |old| Some(machine::forget(old))).ok()?;
        if machine::word::state(old) != STATE_CLOSED {
            return Some(Forgotten::default());
        }
        let mut buckets = [0; WINDOW_BUCKETS];
        for (place, bucket) in buckets.iter_mut().enumerate() {
            let offset = offset_of!(BreakerSlot, buckets) + place * size_of::<u64>();
            // A hook that adds to it meanwhile tries again, and adds to an empty one.
            *bucket = breakers.slots.word(at, offset)?.swap(0, AcqRel);
        }
        let sums = (policy.bucket_ns != 0).then(|| {
            let epoch = machine::window::epoch(&policy, boottime_ns());
            machine::window::sums(&buckets, epoch, machine::word::generation(old))
        });
        let calls = sums.unwrap_or_default().calls;
        Some(Forgotten { failures: machine::word::failures(old), calls })
    }

    /// Transitions that nobody was told of yet. They stay so until [`Kernel::transitions_told`]:
    /// what a daemon has read and not told when it is killed, the next one tells.
    pub fn untold_transitions(&mut self) -> Transitions {
        self.breakers.untold_transitions()
    }

    /// These were told.
    pub fn transitions_told(&self, transitions: &Transitions) {
        if let Some(told) = self.breakers.transition_count.word(TOLD, 0) {
            told.store(transitions.next, Release);
        }
    }
}

impl Breakers {
    /// Place of a pair's breaker.
    pub(super) fn place(&self, pair: PairKey) -> Option<u32> {
        self.known.places.get(&pair).copied()
    }

    /// Learns what is in the maps already: the breakers of an earlier life.
    pub(super) fn find(&mut self) -> Result<(), KernelError> {
        let failed = |name, action| KernelError::map(name, action);
        for entry in &self.of_pair {
            let (pair, place) = entry.map_err(failed("BREAKER_OF_PAIR", "listing"))?;
            self.known.places.insert(pair, place);
            self.known.used = self.known.used.max(place + 1);
        }
        let taken: HashSet<u32> = self.known.places.values().copied().collect();
        self.known.free = (0..self.known.used).filter(|place| !taken.contains(place)).collect();
        let policies = taken.iter().filter_map(|place| {
            let policy = self.slots.half(*place as usize, offset_of!(BreakerSlot, policy))?;
            Some(policy.load(Acquire))
        });
        for place in policies.collect::<HashSet<u32>>() {
            let policy =
                self.policies.get(&place, 0).map_err(failed("BREAKER_POLICIES", "reading"))?;
            self.known.policy_places.insert(policy, place);
        }
        Ok(())
    }

    /// A place for each policy, written before any breaker names it. Those that no breaker uses any
    /// more make room when there is none left.
    fn place_policies(
        &mut self,
        wanted: &BTreeMap<PairKey, BreakerPolicy>,
    ) -> Result<StdHashMap<BreakerPolicy, u32>, KernelError> {
        let mut needed: StdHashMap<BreakerPolicy, u32> = StdHashMap::new();
        for policy in wanted.values() {
            if let Some(place) = self.known.policy_places.get(policy) {
                needed.insert(*policy, *place);
            }
        }
        let mut used: Vec<bool> = vec![false; MAX_POLICIES];
        // Those that breakers name until they are written anew must stay as they are, too.
        for place in self.known.policy_places.values() {
            if let Some(used) = used.get_mut(*place as usize) {
                *used = true;
            }
        }
        for policy in wanted.values() {
            if needed.contains_key(policy) {
                continue;
            }
            let Some(free) = used.iter().position(|used| !used) else {
                return Err(KernelError::Full {
                    what: "different settings of breakers",
                    wanted: needed.len() + 1,
                    capacity: MAX_POLICIES,
                });
            };
            used[free] = true;
            let place = free as u32;
            self.policies
                .set(place, policy, 0)
                .map_err(KernelError::map("BREAKER_POLICIES", "writing"))?;
            needed.insert(*policy, place);
        }
        self.known.policy_places.clone_from(&needed);
        Ok(needed)
    }

    fn put(&mut self, pair: PairKey, policy_place: u32) -> Result<(), KernelError> {
        let known = self.known.places.get(&pair).copied();
        let place = known.or_else(|| self.known.free.pop()).unwrap_or(self.known.used);
        let at = place as usize;
        let policy = self.slots.half(at, offset_of!(BreakerSlot, policy));
        let Some(policy) = policy else {
            return Err(KernelError::Full {
                what: "breakers",
                wanted: at + 1,
                capacity: self.slots.entries(),
            });
        };
        policy.store(policy_place, Release);
        if known.is_some() {
            return Ok(());
        }
        self.clear(at);
        self.of_pair
            .insert(pair, place, 0)
            .map_err(KernelError::map("BREAKER_OF_PAIR", "writing"))?;
        self.known.used = self.known.used.max(place + 1);
        self.known.places.insert(pair, place);
        Ok(())
    }

    /// A fresh breaker at a place that another one may have had: its generation goes on, so that
    /// calls of the old one count for nothing.
    fn clear(&self, at: usize) {
        let word = |offset| self.slots.word(at, offset);
        if let Some(word) = word(WORD) {
            let fresh = machine::fresh(word.load(Acquire));
            word.store(fresh, Release);
        }
        let buckets = offset_of!(BreakerSlot, buckets);
        let probes = offset_of!(BreakerSlot, probes);
        let of = |start, count| (0..count).map(move |place| start + place * size_of::<u64>());
        for offset in of(buckets, WINDOW_BUCKETS).chain(of(probes, PROBE_RESULTS)).chain([
            offset_of!(BreakerSlot, outcomes),
            offset_of!(BreakerSlot, failed_ns),
            offset_of!(BreakerSlot, asked_until_ns),
            offset_of!(BreakerSlot, rejected),
            offset_of!(BreakerSlot, held),
            offset_of!(BreakerSlot, would_have),
        ]) {
            if let Some(word) = word(offset) {
                word.store(0, Release);
            }
        }
        if let Some(seed) = self.slots.half(at, offset_of!(BreakerSlot, seed)) {
            seed.store(rand::random(), Release);
        }
    }

    fn remove(&mut self, pair: PairKey) -> Result<(), KernelError> {
        self.of_pair.remove(&pair).map_err(KernelError::map("BREAKER_OF_PAIR", "removing"))?;
        self.known.free.extend(self.known.places.remove(&pair));
        Ok(())
    }

    fn view(&self, pair: PairKey, at: usize) -> Option<BreakerView> {
        let word = |offset| Some(self.slots.word(at, offset)?.load(Acquire));
        let half = |offset| Some(self.slots.half(at, offset)?.load(Acquire));
        let mut slot = BreakerSlot {
            word: word(WORD)?,
            outcomes: word(offset_of!(BreakerSlot, outcomes))?,
            failed_ns: word(offset_of!(BreakerSlot, failed_ns))?,
            asked_until_ns: word(offset_of!(BreakerSlot, asked_until_ns))?,
            rejected: word(offset_of!(BreakerSlot, rejected))?,
            held: word(offset_of!(BreakerSlot, held))?,
            would_have: word(offset_of!(BreakerSlot, would_have))?,
            policy: half(offset_of!(BreakerSlot, policy))?,
            seed: half(offset_of!(BreakerSlot, seed))?,
            ..BreakerSlot::default()
        };
        for (place, value) in slot.buckets.iter_mut().enumerate() {
            *value = word(offset_of!(BreakerSlot, buckets) + place * size_of::<u64>())?;
        }
        for (place, value) in slot.probes.iter_mut().enumerate() {
            *value = word(offset_of!(BreakerSlot, probes) + place * size_of::<u64>())?;
        }
        Some(BreakerView { pair, slot })
    }

    /// As the hooks do it.
    fn write_down(&self, pair: PairKey, now_ns: u64, old: u64, new: u64, reason: u32) {
        let Some(count) = self.transition_count.word(WRITTEN, 0) else { return };
        let number = count.fetch_add(1, AcqRel);
        let at = (number % TRANSITIONS_KEPT as u64) as usize;
        let word = |offset, value| {
            if let Some(word) = self.transitions.word(at, offset) {
                word.store(value, Release);
            }
        };
        let half = |offset, value| {
            if let Some(half) = self.transitions.half(at, offset) {
                half.store(value, Release);
            }
        };
        word(offset_of!(Transition, sequence), 0);
        word(offset_of!(Transition, time_ns), now_ns);
        word(offset_of!(Transition, old), old);
        word(offset_of!(Transition, new), new);
        half(offset_of!(Transition, pair.bulkhead), pair.bulkhead);
        half(offset_of!(Transition, pair.service), pair.service);
        half(offset_of!(Transition, reason), reason);
        half(offset_of!(Transition, origin), 0);
        word(offset_of!(Transition, sequence), number + 1);
    }

    fn untold_transitions(&mut self) -> Transitions {
        let count = |entry| self.transition_count.word(entry, 0).map_or(0, |w| w.load(Acquire));
        let (written, told) = (count(WRITTEN), count(TOLD));
        let oldest = written.saturating_sub(TRANSITIONS_KEPT as u64);
        let mut untold = Transitions {
            list: Vec::new(),
            lost: oldest.saturating_sub(told),
            next: told.max(oldest),
        };
        while untold.next < written {
            match self.transition(untold.next) {
                Read::Done(transition) => untold.list.push(transition),
                // It and what follows come with the next call.
                Read::NotYet if self.is_being_written(untold.next) => break,
                Read::NotYet | Read::Overwritten => untold.lost += 1,
            }
            untold.next += 1;
        }
        untold
    }

    /// Whether a transition that was begun may still be finished. A hook needs no time for it; a
    /// daemon that was killed in the middle of it never ends.
    fn is_being_written(&mut self, number: u64) -> bool {
        match self.known.unfinished {
            Some((known, since)) if known == number => since.elapsed() < UNFINISHED,
            _ => {
                self.known.unfinished = Some((number, Instant::now()));
                true
            }
        }
    }

    fn transition(&self, number: u64) -> Read {
        let at = (number % TRANSITIONS_KEPT as u64) as usize;
        let word = |offset| self.transitions.word(at, offset).map_or(0, |word| word.load(Acquire));
        let half = |offset| self.transitions.half(at, offset).map_or(0, |half| half.load(Acquire));
        let sequence = || word(offset_of!(Transition, sequence));
        let before = sequence();
        let transition = Transition {
            sequence: before,
            time_ns: word(offset_of!(Transition, time_ns)),
            old: word(offset_of!(Transition, old)),
            new: word(offset_of!(Transition, new)),
            pair: PairKey {
                bulkhead: half(offset_of!(Transition, pair.bulkhead)),
                service: half(offset_of!(Transition, pair.service)),
            },
            reason: half(offset_of!(Transition, reason)),
            origin: half(offset_of!(Transition, origin)),
        };
        match (before, sequence()) {
            (a, b) if a == number + 1 && a == b => Read::Done(transition),
            (a, b) if a > number + 1 || b > number + 1 => Read::Overwritten,
            _ => Read::NotYet,
        }
    }
}

enum Read {
    Done(Transition),
    NotYet,
    Overwritten,
}
