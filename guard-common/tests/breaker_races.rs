//! The breaker among several CPUs: every interleaving of their compare-and-swaps (shuttle's
//! exhaustive scheduler). Each thread does what a hook does: read, step, swap, try again.

#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

use guard_common::abi::breaker::{BreakerPolicy, OPEN_TIMES, STATE_CLOSED, STATE_OPEN};
use guard_common::logic::breaker::word;
use guard_common::logic::breaker::{Event, Result, Step, TICKET_PROBE, Ticket, step};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

const SECOND: u64 = 1_000_000_000;
const SEED: u64 = 3;
/// More than all interleavings of the tests below; each checks that it did not come this far.
const MAX_SCHEDULES: usize = 4_000_000;

fn policy() -> BreakerPolicy {
    BreakerPolicy {
        open_ns: [60 * SECOND; OPEN_TIMES],
        probe_ns: 30 * SECOND,
        failure_threshold: 2,
        half_open_calls: 1,
        ..BreakerPolicy::default()
    }
}

struct Breaker {
    word: AtomicU64,
    /// (old, new) of each transition, as their makers wrote them down.
    transitions: Mutex<Vec<(u64, u64)>>,
}

impl Breaker {
    fn new(word: u64) -> Arc<Self> {
        Arc::new(Self { word: AtomicU64::new(word), transitions: Mutex::new(Vec::new()) })
    }

    fn does(&self, now: u64, event: Event) -> Step {
        let mut old = self.word.load(Ordering::SeqCst);
        loop {
            let done = step(old, &policy(), now, SEED, event);
            if done.word == old {
                return done;
            }
            match self.word.compare_exchange(old, done.word, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => {
                    if done.reason != 0 {
                        self.transitions.lock().unwrap().push((old, done.word));
                    }
                    return done;
                }
                Err(found) => old = found,
            }
        }
    }

    /// Every transition was written down, and they form one chain of generations.
    fn check_chain(&self, start: u64) {
        let mut transitions = self.transitions.lock().unwrap().clone();
        transitions.sort_by_key(|(old, _)| word::generation(*old));
        let mut at = start;
        for (old, new) in transitions {
            assert_eq!(word::generation(old), word::generation(at));
            assert_eq!(word::state(old), word::state(at), "a transition is missing");
            at = new;
        }
        let end = self.word.load(Ordering::SeqCst);
        assert_eq!(
            (word::state(at), word::generation(at)),
            (word::state(end), word::generation(end))
        );
    }
}

fn open_word() -> u64 {
    step(0, &policy(), SECOND, SEED, Event::OperatorTrip).word
}

fn exhaustively(test: impl Fn() + Send + Sync + 'static) {
    let config = shuttle::Config::default();
    let scheduler = shuttle::scheduler::DfsScheduler::new(Some(MAX_SCHEDULES), false);
    let schedules = shuttle::Runner::new(scheduler, config).run(test);
    println!("{schedules} schedules");
    assert!(schedules < MAX_SCHEDULES, "not all interleavings were tried");
}

#[test]
fn one_probe_among_three_callers() {
    exhaustively(|| {
        let start = open_word();
        let breaker = Breaker::new(start);
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let breaker = Arc::clone(&breaker);
                thread::spawn(move || breaker.does(100 * SECOND, Event::Admit).ticket)
            })
            .collect();
        let tickets: Vec<Ticket> = callers.into_iter().map(|c| c.join().unwrap()).collect();
        assert_eq!(tickets.iter().filter(|ticket| **ticket & TICKET_PROBE != 0).count(), 1);
        assert_eq!(tickets.iter().filter(|ticket| **ticket != 0).count(), 1);
        breaker.check_chain(start);
    });
}

#[test]
fn the_probes_result_against_callers_and_the_operator() {
    exhaustively(|| {
        let start = open_word();
        let now = 100 * SECOND;
        let admitted = step(start, &policy(), now, SEED, Event::Admit);
        let breaker = Breaker::new(admitted.word);
        let result = {
            let breaker = Arc::clone(&breaker);
            let event = Event::Result(admitted.ticket, Result::Failure);
            thread::spawn(move || breaker.does(now, event))
        };
        let caller = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || breaker.does(now, Event::Admit).ticket)
        };
        let operator = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || breaker.does(now, Event::OperatorReset))
        };
        let failed = result.join().unwrap();
        let ticket = caller.join().unwrap();
        operator.join().unwrap();
        let end = breaker.word.load(Ordering::SeqCst);
        // Whoever was last: the operator's reset always leaves it closed, and only a reset lets the
        // caller pass.
        assert_eq!(word::state(end), STATE_CLOSED, "{failed:?}");
        assert_eq!(ticket & TICKET_PROBE, 0, "a second probe");
        breaker.check_chain(admitted.word);
    });
}

#[test]
fn failures_at_once_trip_once() {
    exhaustively(|| {
        let ticket = step(0, &policy(), SECOND, SEED, Event::Admit).ticket;
        let breaker = Breaker::new(0);
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let breaker = Arc::clone(&breaker);
                let failed = Event::Result(ticket, Result::Failure);
                thread::spawn(move || breaker.does(SECOND, failed).reason != 0)
            })
            .collect();
        let trips =
            callers.into_iter().map(|c| c.join().unwrap()).filter(|tripped| *tripped).count();
        assert_eq!(trips, 1, "threshold 2, three failures");
        assert_eq!(word::state(breaker.word.load(Ordering::SeqCst)), STATE_OPEN);
        breaker.check_chain(0);
    });
}

#[test]
fn an_expired_lease_is_taken_once_and_its_late_return_frees_nobody_elses() {
    exhaustively(|| {
        let admitted = step(open_word(), &policy(), 100 * SECOND, SEED, Event::Admit);
        let later = 200 * SECOND;
        let breaker = Breaker::new(admitted.word);
        let late = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || breaker.does(later, Event::GiveBack(admitted.ticket)))
        };
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let breaker = Arc::clone(&breaker);
                thread::spawn(move || breaker.does(later, Event::Admit).ticket)
            })
            .collect();
        let probes = callers.into_iter().map(|c| c.join().unwrap()).filter(|t| *t != 0).count();
        late.join().unwrap();
        assert_eq!(probes, 1);
        assert_eq!(word::leases_out(breaker.word.load(Ordering::SeqCst)), 1);
    });
}
