//! Self-healing while guardd runs: looks at all targets, asks the ladders of the rules what comes next,
//! has it done by threads of their own, and writes everything down.
//!
//! Data: the kernel's counters and breakers, sockets that wait, cgroups (`seen`) → windows and detectors
//! (`judge`) → ladders → actions (`act`) → incidents, events, metrics (`tell`). The two locks are never
//! held at once, and neither while something blocks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use guard_common::abi::ids::PairKey;

use super::state::Guard;
use crate::health::Window;
use crate::plan::{Action, AgentPlan, RulePlan, StepPlan};
use crate::recovery::{ActionResult, Ladder, Look, Order, Outcome, Situation};

mod act;
mod judge;
mod probe;
mod recover;
mod seen;
mod tell;

use judge::Judged;
use probe::Probes;
use seen::Seen;

/// From one look to the next, while all is well and while something is not.
const QUIET: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_millis(200);
/// How often the totals are written down.
const SAVE: Duration = Duration::from_mins(5);

/// Whom a rule is about: its name, the bulkhead, and the service unless it is about all of that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) rule: String,
    pub(super) bulkhead: String,
    pub(super) service: Option<String>,
}

/// A target's ladder and what belongs to it.
#[derive(Debug, Default)]
struct Live {
    ladder: Ladder,
    incident: Option<u64>,
    /// When the last step was done: what is verified happened since.
    acted: Option<Instant>,
}

/// What healing remembers.
#[derive(Debug, Default)]
pub(crate) struct Healing {
    windows: BTreeMap<PairKey, Window>,
    /// Since when breakers have not been CLOSED.
    open_since: BTreeMap<PairKey, Instant>,
    targets: BTreeMap<Target, Live>,
    /// Agents that failed for good, by bulkhead, and why.
    exited: BTreeMap<String, String>,
    /// Processes killed for want of memory, by bulkhead, as of the last look.
    killed: BTreeMap<String, u64>,
    probes: Probes,
    waiting: VecDeque<Work>,
    running: usize,
    /// Whether one that stops processes is among them.
    stopping: bool,
    /// Actions by rule, action, result.
    pub(super) counts: BTreeMap<(String, String, ActionResult), u64>,
    looked: Option<Instant>,
    saved: Option<Instant>,
}

/// One action to be done.
#[derive(Clone, Debug)]
struct Work {
    target: Target,
    step: StepPlan,
    rule: RulePlan,
    situation: Situation,
}

/// One that was.
struct Done {
    work: Work,
    outcome: Outcome,
}

impl Guard {
    pub(super) fn healing(&self) -> MutexGuard<'_, Healing> {
        self.healing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Incidents that an earlier guardd has left open go on: they may only end.
    fn take_up_incidents(&self) {
        let open: Vec<(u64, Situation)> = {
            let state = self.lock();
            let open = state.incidents.active();
            open.map(|incident| (incident.id, incident.situation.clone())).collect()
        };
        for (id, situation) in open {
            let target = Target {
                rule: situation.rule,
                bulkhead: situation.bulkhead.unwrap_or_default(),
                service: situation.service,
            };
            self.healing().take_up(target, id);
        }
    }

    /// An agent of this bulkhead has failed for good: a fact for detectors, until it runs again.
    pub(super) fn agent_failed(&self, bulkhead: &str, why: Option<&str>) {
        let mut healing = self.healing();
        match why {
            Some(why) => healing.exited.insert(bulkhead.to_owned(), why.to_owned()),
            None => healing.exited.remove(bulkhead),
        };
    }
}

/// Looks and heals until the order to stop comes. Actions that run then end with guardd.
pub(super) fn heal_until(guard: &Arc<Guard>, stop: &AtomicBool) {
    let (tell, told) = channel();
    guard.take_up_incidents();
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        finish(guard, &told);
        let open = look(guard);
        start(guard, &tell);
        probe::run(guard);
        let pause = if open { BUSY } else { QUIET };
        // A look that took long is followed by as long a rest.
        thread::park_timeout(pause.max(begin.elapsed()));
    }
}

/// Takes in what actions have come to.
fn finish(guard: &Arc<Guard>, told: &Receiver<Done>) {
    while let Ok(Done { work, outcome }) = told.try_recv() {
        let mut healing = guard.healing();
        healing.running = healing.running.saturating_sub(1);
        healing.stopping &= !work.step.action.stops_processes();
        let incident = healing.targets.get_mut(&work.target).and_then(|live| {
            let now = Instant::now();
            live.acted = Some(now);
            live.ladder.acted(&work.rule, outcome.result == ActionResult::Skipped, now);
            live.incident
        });
        drop(healing);
        guard.tell_action(incident, &work.situation, &outcome);
    }
}

/// Looks at every target; whether any incident is open.
fn look(guard: &Arc<Guard>) -> bool {
    let Some(seen) = guard.see() else { return false };
    let now = Instant::now();
    let mut healing = guard.healing();
    healing.take_in(&seen, now);
    let mut orders = Vec::new();
    for rule in &seen.rules {
        for target in Healing::targets_of(rule, &seen) {
            let judged = healing.judge(rule, &target, &seen, now);
            let live = healing.targets.entry(target.clone()).or_default();
            let order = live.ladder.look(rule, judged.look, now);
            if order != Order::Stay {
                orders.push((rule.clone(), target, judged, order));
            }
        }
    }
    let withdrawn = healing.withdraw(&seen);
    let elapsed = healing.looked.replace(now).map(|at| now.duration_since(at));
    let save = healing.saved.is_none_or(|at| now.duration_since(at) >= SAVE);
    if save {
        healing.saved = Some(now);
    }
    drop(healing);
    guard.observe(&seen, elapsed, save);
    for (target, incident) in withdrawn {
        guard.tell_withdrawn(&target, incident);
    }
    for (rule, target, judged, order) in orders {
        obey(guard, &rule, &target, &judged, order);
    }
    guard.healing().targets.values().any(|live| live.ladder.is_open())
}

/// Does what a ladder wants.
fn obey(guard: &Arc<Guard>, rule: &RulePlan, target: &Target, judged: &Judged, order: Order) {
    let known = guard.healing().targets.get(target).and_then(|live| live.incident);
    let situation = |step: Option<usize>| Situation {
        incident: known.unwrap_or(0),
        rule: rule.name.clone(),
        bulkhead: Some(target.bulkhead.clone()),
        service: target.service.clone(),
        since: jiff::Timestamp::now().to_string(),
        reason: judged.reason.clone(),
        outcomes: judged.outcomes.clone(),
        injected: judged.injected,
        step: step.map_or(0, |step| step + 1),
        action: step
            .and_then(|step| rule.steps.get(step))
            .map(|step| step.action.name().to_owned())
            .unwrap_or_default(),
    };
    match order {
        Order::Stay => {}
        Order::Begin => {
            let id = guard.tell_begin(&situation(None), judged);
            let mut healing = guard.healing();
            if let Some(live) = healing.targets.get_mut(target) {
                live.incident = Some(id);
            }
            healing.enqueue(rule, target, 0, Situation { incident: id, ..situation(Some(0)) });
        }
        Order::BeginAboveLimit => {
            let id = guard.tell_begin(&situation(None), judged);
            if let Some(live) = guard.healing().targets.get_mut(target) {
                live.incident = Some(id);
            }
            let why = format!("{} recoveries in an hour did not last", rule.max_per_hour);
            call(guard, Situation { incident: id, ..situation(None) }, &why);
        }
        Order::Next(step) => {
            guard.tell_not_verified(known, step, judged);
            guard.healing().enqueue(rule, target, step, situation(Some(step)));
        }
        Order::GiveUp => {
            guard.tell_not_verified(known, rule.steps.len(), judged);
            // A ladder that ends with a call has made it.
            let called = rule.steps.last().is_some_and(|step| step.action == Action::Notify);
            if called {
                guard.tell_gave_up(&situation(None));
            } else {
                call(guard, situation(None), "no step has helped");
            }
        }
        Order::Recovered(step) => {
            let mut healing = guard.healing();
            if let Some(live) = healing.targets.get_mut(target) {
                live.incident = None;
                live.acted = None;
            }
            healing.forget(target, &judged.pairs);
            drop(healing);
            let helped = step
                .and_then(|step| rule.steps.get(step))
                .map(|step| step.action.name().to_owned());
            guard.tell_recovered(known, &situation(None), helped, judged);
        }
    }
}

/// Calls a person, in a thread of its own.
fn call(guard: &Arc<Guard>, situation: Situation, why: &str) {
    let situation = Situation {
        action: "notify".into(),
        reason: format!("{why}: {}", situation.reason),
        ..situation
    };
    guard.tell_gave_up(&situation);
    let caller = Arc::clone(guard);
    let called = thread::Builder::new().name("guard-notify".into()).spawn(move || {
        let outcome = caller.call_person(&situation);
        caller.tell_called(&situation, &outcome);
    });
    if let Err(error) = called {
        tracing::error!(%error, "nobody was called");
    }
}

/// Calls a person for an agent that stays down: no rule need be about it.
pub(super) fn call_for_agent(guard: &Arc<Guard>, agent: &AgentPlan, why: String) {
    let situation = Situation {
        rule: format!("agents.{}", agent.name),
        bulkhead: Some(agent.bulkhead.clone()),
        since: jiff::Timestamp::now().to_string(),
        reason: why,
        action: "notify".into(),
        ..Situation::default()
    };
    let caller = Arc::clone(guard);
    let called = thread::Builder::new().name("guard-notify".into()).spawn(move || {
        let outcome = caller.call_person(&situation);
        caller.tell_called(&situation, &outcome);
    });
    if let Err(error) = called {
        tracing::error!(%error, "nobody was called");
    }
}

/// Begins as many actions as may run.
fn start(guard: &Arc<Guard>, tell: &Sender<Done>) {
    let most = guard.lock().plan.recovery.max_concurrent.max(1);
    loop {
        let mut healing = guard.healing();
        if healing.running >= most {
            return;
        }
        let stopping = healing.stopping;
        let may = |work: &Work| !(stopping && work.step.action.stops_processes());
        let Some(at) = healing.waiting.iter().position(may) else { return };
        let Some(work) = healing.waiting.remove(at) else { return };
        healing.running += 1;
        healing.stopping |= work.step.action.stops_processes();
        drop(healing);
        let (actor, teller, doing) = (Arc::clone(guard), tell.clone(), work.clone());
        let begun = thread::Builder::new().name("guard-action".into()).spawn(move || {
            let outcome = actor.heal(&doing.rule, &doing.target, &doing.step, &doing.situation);
            // guardd is stopping if nobody listens.
            drop(teller.send(Done { work: doing, outcome }));
        });
        if let Err(error) = begun {
            let message = format!("no thread for it: {error}");
            let outcome = Outcome { result: ActionResult::Failed, message, took: Duration::ZERO };
            drop(tell.send(Done { work, outcome }));
        }
    }
}

impl Healing {
    fn enqueue(&mut self, rule: &RulePlan, target: &Target, step: usize, situation: Situation) {
        let Some(step) = rule.steps.get(step).cloned() else { return };
        let work = Work { target: target.clone(), step, rule: rule.clone(), situation };
        self.waiting.push_back(work);
    }

    /// What was wrong before a recovery is no sign of sickness after it.
    fn forget(&mut self, target: &Target, pairs: &[PairKey]) {
        for pair in pairs {
            if let Some(window) = self.windows.get_mut(pair) {
                window.forget();
            }
        }
        self.probes.forget(pairs);
        self.exited.remove(&target.bulkhead);
    }

    /// Targets whose rule, bulkhead or service is not in the plan any more, with their open incidents.
    fn withdraw(&mut self, seen: &Seen) -> Vec<(Target, u64)> {
        let rules: BTreeSet<&str> = seen.rules.iter().map(|rule| rule.name.as_str()).collect();
        let stays = |target: &Target| {
            rules.contains(target.rule.as_str())
                && seen.bulkheads.contains_key(&target.bulkhead)
                && target.service.as_ref().is_none_or(|service| seen.services.contains(service))
        };
        let gone: Vec<Target> =
            self.targets.keys().filter(|target| !stays(target)).cloned().collect();
        self.waiting.retain(|work| stays(&work.target));
        gone.into_iter()
            .filter_map(|target| {
                let live = self.targets.remove(&target)?;
                Some((target, live.incident?))
            })
            .collect()
    }

    /// Takes up the incidents that an earlier guardd has left open: they may only end.
    fn take_up(&mut self, target: Target, incident: u64) {
        let ladder = Ladder::of_open_incident();
        self.targets.insert(target, Live { ladder, incident: Some(incident), acted: None });
    }

    fn look_of(&self, target: &Target) -> Option<&Live> {
        self.targets.get(target)
    }
}

/// Nothing is known.
const UNKNOWN: Look = Look { sick: None, verified: None };
