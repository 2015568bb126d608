//! Properties of the breaker's machine for any order of calls, results and times. The seed of a
//! failing case is printed and kept by proptest.

use guard_common::abi::breaker::{
    BreakerPolicy, STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN, reason,
};
use guard_common::logic::breaker::timing;
use guard_common::logic::breaker::word::{self, TIME_SHIFT};
use guard_common::logic::breaker::{Event, Result, TICKET_PROBE, Ticket, step};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const SEED: u64 = 7;
/// Rounding of times: a breaker may open and end leases this much late, never early.
const UNIT_NS: u64 = 2 << TIME_SHIFT;

fn policy(threshold: u32, probes: u32, factor: f64) -> BreakerPolicy {
    BreakerPolicy {
        open_ns: timing::open_times(60 * SECOND, factor, 600 * SECOND),
        probe_ns: 30 * SECOND,
        failure_threshold: threshold,
        half_open_calls: probes,
        ..BreakerPolicy::default()
    }
}

/// What a test does next; tickets are chosen among all that were ever handed out.
#[derive(Clone, Debug)]
enum Act {
    Wait(u64),
    Admit,
    Result(prop::sample::Index, Result),
    GiveBack(prop::sample::Index),
    Window,
    Trip,
    Reset,
    RetryAfter(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let result = prop_oneof![
        1 => Just(Result::Success),
        4 => Just(Result::Failure),
        1 => Just(Result::Throttled),
        1 => Just(Result::Nothing),
    ];
    prop_oneof![
        3 => prop_oneof![0..SECOND, 0..100 * SECOND, Just(0)].prop_map(Act::Wait),
        6 => Just(Act::Admit),
        8 => (any::<prop::sample::Index>(), result).prop_map(|(at, result)| Act::Result(at, result)),
        1 => any::<prop::sample::Index>().prop_map(Act::GiveBack),
        1 => Just(Act::Window),
        1 => Just(Act::Trip),
        1 => Just(Act::Reset),
        1 => (0..4000 * SECOND).prop_map(Act::RetryAfter),
    ]
}

/// What the machine promised, kept in plain fields beside it.
#[derive(Default)]
struct Model {
    now: u64,
    word: u64,
    /// Handed out and not yet used.
    tickets: Vec<Ticket>,
    /// In OPEN: no call may pass before.
    open_until: u64,
    /// Leases that nobody has given back: when each ends, in this generation.
    leases: Vec<(Ticket, u64)>,
}

impl Model {
    fn does(
        &mut self,
        policy: &BreakerPolicy,
        act: &Act,
    ) -> std::result::Result<(), TestCaseError> {
        let event = match act {
            Act::Wait(ns) => {
                self.now += ns;
                return Ok(());
            }
            Act::Admit => Event::Admit,
            Act::Result(..) | Act::GiveBack(_) if self.tickets.is_empty() => return Ok(()),
            Act::Result(at, result) => {
                let ticket = self.tickets.swap_remove(at.index(self.tickets.len()));
                Event::Result(ticket, *result)
            }
            Act::GiveBack(at) => {
                Event::GiveBack(self.tickets.swap_remove(at.index(self.tickets.len())))
            }
            Act::Window => Event::Window(reason::SUCCESS_RATE),
            Act::Trip => Event::OperatorTrip,
            Act::Reset => Event::OperatorReset,
            Act::RetryAfter(ns) => Event::RetryAfter(self.now + ns),
        };
        let (old, old_state) = (self.word, word::state(self.word));
        let done = step(old, policy, self.now, SEED, event);
        let new_state = word::state(done.word);
        self.word = done.word;

        // The generation counts the changes of state, and nothing else.
        let raised = word::generation(done.word).wrapping_sub(word::generation(old)) & 0xfff;
        prop_assert_eq!(raised, u64::from(done.reason != 0));
        prop_assert!(done.reason != 0 || old_state == new_state);
        let allowed =
            matches!(
                (old_state, new_state),
                (STATE_CLOSED, STATE_OPEN)
                    | (STATE_OPEN, STATE_HALF_OPEN)
                    | (STATE_HALF_OPEN, STATE_OPEN | STATE_CLOSED)
            ) || matches!(done.reason, 0 | reason::OPERATOR_TRIP | reason::OPERATOR_RESET);
        prop_assert!(allowed, "{old_state} -> {new_state} by {}", done.reason);

        match event {
            Event::Admit => self.admitted(policy, old_state, done.ticket)?,
            Event::Result(ticket, _) | Event::GiveBack(ticket) => {
                let generation = u64::from(ticket & 0xfff);
                if generation != word::generation(old) {
                    prop_assert_eq!(done.word, old, "a result of another time");
                }
                // Leases that are out at the same time have equal tickets.
                if let Some(at) = self.leases.iter().position(|(held, _)| *held == ticket) {
                    self.leases.remove(at);
                }
            }
            _ => prop_assert_eq!(done.ticket, 0),
        }
        if done.reason != 0 {
            self.leases
                .retain(|(ticket, _)| u64::from(ticket & 0xfff) == word::generation(self.word));
        }
        if new_state == STATE_OPEN && done.reason != 0 {
            self.open_until = self.now + policy.open_ns[0];
        }
        if let Event::RetryAfter(until) = event
            && new_state == STATE_OPEN
        {
            self.open_until = self.open_until.max(until);
        }
        Ok(())
    }

    fn admitted(
        &mut self,
        policy: &BreakerPolicy,
        old_state: u32,
        ticket: Ticket,
    ) -> std::result::Result<(), TestCaseError> {
        let probe = ticket & TICKET_PROBE != 0;
        match old_state {
            STATE_CLOSED => prop_assert!(ticket != 0 && !probe, "CLOSED refuses nobody"),
            STATE_OPEN if self.now < self.open_until => prop_assert_eq!(ticket, 0, "too early"),
            STATE_OPEN => {}
            _ => {
                let live = self.leases.iter().filter(|(_, end)| self.now < *end).count();
                if ticket != 0 {
                    prop_assert!(live < policy.half_open_calls as usize, "one probe too many");
                } else {
                    prop_assert!(!self.leases.is_empty(), "refused with no lease out");
                }
            }
        }
        if ticket != 0 {
            self.tickets.push(ticket);
        }
        if probe {
            // A lease is over for all at once: the newest sets the end.
            let end = self.now + policy.probe_ns;
            for (_, known) in &mut self.leases {
                *known = (*known).min(end);
            }
            self.leases.push((ticket, end));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn promises_hold_in_any_order(
        acts in prop::collection::vec(act(), 1..200),
        threshold in 1_u32..6,
        probes in 1_u32..4,
        start in 0..1_000_000 * SECOND,
    ) {
        let policy = policy(threshold, probes, 1.0);
        let mut model = Model { now: start, ..Model::default() };
        for act in &acts {
            model.does(&policy, act)?;
        }
        // Whatever happened: patience and as many good probes as asked for close it.
        model.now += 4_100 * SECOND + policy.probe_ns + UNIT_NS;
        for _ in 0..=probes {
            let admitted = step(model.word, &policy, model.now, SEED, Event::Admit);
            prop_assert!(admitted.ticket != 0, "stuck in {}", word::state(model.word));
            let good = Event::Result(admitted.ticket, Result::Success);
            model.word = step(admitted.word, &policy, model.now, SEED, good).word;
        }
        prop_assert_eq!(word::state(model.word), STATE_CLOSED);
    }

    /// Who skips the machine for such a call changes nothing, whichever of the two bits decide.
    #[test]
    fn a_success_leaves_a_calm_word_as_it_is(
        start: u64,
        quiet: bool,
        now in 0..1_u64 << 60,
        ticket: Ticket,
        threshold in 0_u32..300,
    ) {
        // Few words out of all are calm: clear state, trips and count of half of them.
        let start = if quiet { start & !0x3_fc3f } else { start };
        let policy = policy(threshold, 1, 2.0);
        let event = Event::Result(ticket, Result::Success);
        let done = step(start, &policy, now, SEED, event);
        if word::is_calm(start) {
            prop_assert_eq!((done.word, done.reason), (start, 0));
        }
        prop_assert!(word::is_calm(start) || !quiet);
    }

    /// Words that nobody made (a map of another version, a stray write) harm nobody for ever.
    #[test]
    fn any_word_can_be_left(
        start: u64,
        now in 0..1_u64 << 60,
        probes in 0_u32..=15,
        threshold in 0_u32..300,
    ) {
        let policy = policy(threshold, probes, 2.0);
        let mut word = start;
        let mut now = now;
        for round in 0..40 {
            now += 3 * 86_400 * SECOND;
            let admitted = step(word, &policy, now, SEED, Event::Admit);
            // It may happen to say "open for another day"; that is over at the next call.
            prop_assert!(admitted.ticket != 0 || round == 0);
            word = step(admitted.word, &policy, now, SEED, Event::Result(admitted.ticket, Result::Success)).word;
        }
        prop_assert!(word::state(word) == STATE_CLOSED || word::state(word) == 3);
    }
}

#[test]
fn exactly_the_threshold_of_failures_trips() {
    for threshold in 1..=255 {
        let policy = policy(threshold, 1, 1.0);
        let mut word = 0;
        for failure in 1..=threshold {
            let admitted = step(word, &policy, SECOND, SEED, Event::Admit);
            assert_ne!(admitted.ticket, 0, "call {failure} of {threshold}");
            let failed = Event::Result(admitted.ticket, Result::Failure);
            let done = step(admitted.word, &policy, SECOND, SEED, failed);
            let tripped = done.reason == reason::CONSECUTIVE_FAILURES;
            assert_eq!(tripped, failure == threshold, "call {failure} of {threshold}");
            word = done.word;
        }
        assert_eq!(step(word, &policy, SECOND, SEED, Event::Admit).ticket, 0);
    }
}

/// Trips a breaker, waits, lets its probe succeed, and trips it again after `healthy_ns`.
fn open_times(healthy_ns: u64, rounds: u32) -> Vec<u64> {
    let policy = policy(1, 1, 2.0);
    let (mut now, mut word, mut times) = (SECOND, 0, Vec::new());
    for _ in 0..rounds {
        let call = step(word, &policy, now, SEED, Event::Admit);
        let failed = Event::Result(call.ticket, Result::Failure);
        word = step(call.word, &policy, now, SEED, failed).word;
        times.push((word::remaining_ns(word, now) + SECOND / 2) / SECOND);
        now += word::remaining_ns(word, now) + UNIT_NS;
        let probe = step(word, &policy, now, SEED, Event::Admit);
        word =
            step(probe.word, &policy, now, SEED, Event::Result(probe.ticket, Result::Success)).word;
        now += healthy_ns;
        let call = step(word, &policy, now, SEED, Event::Admit);
        word =
            step(call.word, &policy, now, SEED, Event::Result(call.ticket, Result::Success)).word;
    }
    times
}

#[test]
fn relapses_stay_open_longer_and_health_is_forgiven() {
    assert_eq!(open_times(SECOND, 5), [60, 120, 240, 480, 600]);
    assert_eq!(open_times(700 * SECOND, 3), [60, 60, 60]);
}

#[test]
fn throttling_fails_a_probe_but_is_no_failure_in_a_row() {
    let policy = policy(2, 1, 1.0);
    let mut word = 0;
    for result in [Result::Failure, Result::Throttled, Result::Nothing, Result::Throttled] {
        let call = step(word, &policy, SECOND, SEED, Event::Admit);
        word = step(call.word, &policy, SECOND, SEED, Event::Result(call.ticket, result)).word;
        assert_eq!((word::state(word), word::failures(word)), (STATE_CLOSED, 1));
    }
    let tripped = step(word, &policy, SECOND, SEED, Event::OperatorTrip).word;
    let probe = step(tripped, &policy, 100 * SECOND, SEED, Event::Admit);
    assert_eq!(word::state(probe.word), STATE_HALF_OPEN);
    let throttled = Event::Result(probe.ticket, Result::Throttled);
    let done = step(probe.word, &policy, 100 * SECOND, SEED, throttled);
    assert_eq!((word::state(done.word), done.reason), (STATE_OPEN, reason::PROBE_FAILED));
}
