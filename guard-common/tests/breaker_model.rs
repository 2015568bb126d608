//! The breaker with the processes that hold its tickets and the daemon that tells of its transitions,
//! in every order of events (stateright): probes that answer, fail, are killed or never end; time; the
//! operator; a daemon that is killed at any moment and adopts what it finds.
//!
//! The compare-and-swap is one step here; what comes between its halves is `breaker_races`.

#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

use guard_common::abi::breaker::{
    BreakerPolicy, OPEN_TIMES, STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN, reason,
};
use guard_common::logic::breaker::word;
use guard_common::logic::breaker::{Event, Result, Step, TICKET_PROBE, Ticket, give_back, step};
use stateright::{Checker, Model, Property};

const SECOND: u64 = 1_000_000_000;
const SEED: u64 = 3;
/// Time of a probe; the open time is twice that.
const PROBE_NS: u64 = 30 * SECOND;
/// How far the clock jumps: times are rounded up to 4.2 ms.
const TICK_NS: u64 = PROBE_NS + SECOND / 100;
const CALLERS: usize = 3;

/// What is looked at, and how far.
#[derive(Clone, Copy)]
struct Host {
    half_open_calls: u32,
    callers: usize,
    ticks: u8,
    transitions: u8,
    /// Whether daemons come and go.
    daemons: bool,
}

impl Host {
    fn policy(&self) -> BreakerPolicy {
        BreakerPolicy {
            open_ns: [2 * PROBE_NS; OPEN_TIMES],
            probe_ns: PROBE_NS,
            failure_threshold: 2,
            half_open_calls: self.half_open_calls,
            ..BreakerPolicy::default()
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    word: u64,
    ticks: u8,
    /// Tickets of the calls that are under way.
    calls: [Option<Ticket>; CALLERS],
    /// Transitions that were written down, and of how many the map says that they were told.
    written: u8,
    noted: u8,
    /// Of how many, from the first on, somebody has heard.
    heard: u8,
    /// Whether a daemon lives, and how many it has told of without having noted it yet.
    daemon: bool,
    telling: Option<u8>,
    /// A transition began where the one before had not ended.
    broken: bool,
    /// A lease ran out, and another call got it.
    relent: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Call(usize),
    Ends(usize, Result),
    /// Its ticket is gone without a word: no hook has seen its end.
    Vanishes(usize),
    Tick,
    Trip,
    Reset,
    RetryAfter,
    DaemonTells,
    DaemonNotes,
    DaemonIsKilled,
    DaemonAdopts,
}

impl State {
    fn now_ns(&self) -> u64 {
        SECOND + u64::from(self.ticks) * TICK_NS
    }

    fn state(&self) -> u32 {
        word::state(self.word)
    }

    fn happens(&mut self, host: &Host, event: Event) -> Step {
        let (old, now_ns) = (self.word, self.now_ns());
        let done = step(old, &host.policy(), now_ns, SEED, event);
        let changes = (word::state(old), word::generation(old))
            != (word::state(done.word), word::generation(done.word));
        if done.reason != 0 {
            self.written += 1;
            self.broken |= word::generation(done.word) != word::generation(old) + 1;
        }
        // What changes the state must say so, or nobody hears of it.
        self.broken |= changes != (done.reason != 0);
        self.word = done.word;
        done
    }

    /// Calls that hold a lease which is not over.
    fn probes(&self) -> usize {
        if word::remaining_ns(self.word, self.now_ns()) == 0 {
            return 0;
        }
        let holds = |ticket: &&Ticket| give_back(self.word, **ticket).word != self.word;
        self.calls.iter().flatten().filter(holds).count()
    }
}

impl Model for Host {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            word: 0,
            ticks: 0,
            calls: [None; CALLERS],
            written: 0,
            noted: 0,
            heard: 0,
            daemon: true,
            telling: None,
            broken: false,
            relent: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (caller, call) in state.calls.iter().enumerate().take(self.callers) {
            if call.is_none() {
                actions.push(Action::Call(caller));
                // Callers are alike: the first that is free stands for all.
                break;
            }
        }
        for (caller, _) in state.calls.iter().enumerate().filter(|(_, call)| call.is_some()) {
            let results = [Result::Success, Result::Failure, Result::Throttled, Result::Nothing];
            actions.extend(results.map(|result| Action::Ends(caller, result)));
            actions.push(Action::Vanishes(caller));
        }
        actions.extend([Action::Tick, Action::Trip, Action::Reset, Action::RetryAfter]);
        if !self.daemons {
            return;
        }
        if state.daemon {
            actions.push(Action::DaemonIsKilled);
            actions.push(match state.telling {
                Some(_) => Action::DaemonNotes,
                None => Action::DaemonTells,
            });
        } else {
            actions.push(Action::DaemonAdopts);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Call(caller) => {
                let lease = word::lease(before.word);
                let ticket = state.happens(self, Event::Admit).ticket;
                let expired = before.calls.iter().flatten().any(|call| call & TICKET_PROBE != 0);
                state.relent |= before.state() == STATE_HALF_OPEN
                    && expired
                    && ticket != 0
                    && word::lease(state.word) != lease;
                if ticket == 0 {
                    return (state != *before).then_some(state);
                }
                state.calls[caller] = Some(ticket);
            }
            Action::Ends(caller, result) => {
                let ticket = state.calls[caller].take()?;
                state.happens(self, Event::Result(ticket, result));
            }
            Action::Vanishes(caller) => state.calls[caller] = None,
            Action::Tick => state.ticks += 1,
            Action::Trip => drop(state.happens(self, Event::OperatorTrip)),
            Action::Reset => drop(state.happens(self, Event::OperatorReset)),
            Action::RetryAfter => {
                let until_ns = state.now_ns() + 3 * TICK_NS;
                state.happens(self, Event::RetryAfter(until_ns));
            }
            // It begins where the map says that the last one has stopped: told twice is better than
            // never.
            Action::DaemonTells => {
                state.heard = state.heard.max(state.written);
                state.telling = Some(state.written);
            }
            Action::DaemonNotes => state.noted = state.telling.take()?,
            Action::DaemonIsKilled => {
                state.daemon = false;
                state.telling = None;
            }
            Action::DaemonAdopts => state.daemon = true,
        }
        (state != *before).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.ticks <= self.ticks && state.written <= self.transitions
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "no more probes than half_open_calls",
                |host: &Self, state: &State| {
                    let most = host.half_open_calls;
                    state.probes() <= most as usize
                        && (state.state() != STATE_HALF_OPEN
                            || word::leases_out(state.word) <= u64::from(most))
                },
            ),
            Property::always(
                "never stuck: a call passes when the times are over",
                |host: &Self, state: &State| {
                    let later_ns = state.now_ns() + 4 * TICK_NS;
                    step(state.word, &host.policy(), later_ns, SEED, Event::Admit).ticket != 0
                },
            ),
            Property::always(
                "OPEN refuses until its time is over",
                |host: &Self, state: &State| {
                    let now_ns = state.now_ns();
                    let admitted =
                        step(state.word, &host.policy(), now_ns, SEED, Event::Admit).ticket != 0;
                    let open =
                        state.state() == STATE_OPEN && word::remaining_ns(state.word, now_ns) > 0;
                    !(open && admitted)
                },
            ),
            Property::always("transitions form one chain", |_, state: &State| !state.broken),
            Property::always(
                "no transition is skipped by a daemon that dies",
                |_, state: &State| state.noted <= state.heard && state.heard <= state.written,
            ),
            Property::sometimes("a probe closes it", |host: &Self, state: &State| {
                let told = !host.daemons || state.noted == state.written;
                state.written >= 3 && state.state() == STATE_CLOSED && told
            }),
            Property::sometimes("a lease that is over goes to another call", |_, state: &State| {
                state.relent
            }),
            Property::sometimes(
                "as many probes are out as may be",
                |host: &Self, state: &State| state.probes() == host.half_open_calls as usize,
            ),
        ]
    }
}

fn check(host: Host) {
    let checker = host.checker().threads(2).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn one_probe_at_a_time() {
    let callers = CALLERS;
    check(Host { half_open_calls: 1, callers, ticks: 6, transitions: 4, daemons: false });
}

#[test]
fn two_probes_at_a_time() {
    let callers = CALLERS;
    check(Host { half_open_calls: 2, callers, ticks: 6, transitions: 4, daemons: false });
}

#[test]
fn no_transition_is_lost_whenever_daemons_die() {
    check(Host { half_open_calls: 1, callers: 2, ticks: 3, transitions: 3, daemons: true });
}

/// Leases have sixteen numbers. When all were used by probes that never ended, the breaker opens, so
/// that none of them finds its number again.
#[test]
fn sixteen_probes_that_never_end_are_a_failure() {
    let host = Host { half_open_calls: 1, callers: 1, ticks: 0, transitions: 0, daemons: false };
    let does = |word, now_ns, event| step(word, &host.policy(), now_ns, SEED, event);
    let mut word = does(0, SECOND, Event::OperatorTrip).word;
    let mut now_ns = SECOND + 2 * TICK_NS;
    let first = does(word, now_ns, Event::Admit);
    word = first.word;
    for number in 1..=word::MAX_LEASE {
        now_ns += 2 * TICK_NS;
        let lent = does(word, now_ns, Event::Admit);
        assert!(lent.ticket != 0 && lent.reason == 0, "lease {number}");
        word = lent.word;
        let late = does(word, now_ns, Event::GiveBack(first.ticket));
        assert_eq!(late.word, word, "the first of them gives back somebody else's lease");
    }
    now_ns += 2 * TICK_NS;
    let over = does(word, now_ns, Event::Admit);
    assert_eq!((over.ticket, over.reason), (0, reason::PROBE_FAILED));
    assert_eq!(word::state(over.word), STATE_OPEN);
    // Given back, a lease uses up no number.
    let mut word = first.word;
    let mut ticket = first.ticket;
    for _ in 0..100 {
        word = does(word, now_ns, Event::GiveBack(ticket)).word;
        let again = does(word, now_ns, Event::Admit);
        assert!(again.ticket != 0 && again.reason == 0);
        (word, ticket) = (again.word, again.ticket);
    }
}
