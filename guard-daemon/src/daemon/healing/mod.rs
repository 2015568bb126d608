//! Self-healing while guardd runs: looks at all targets, asks the ladders of the rules what comes next,
//! has it done by threads of their own, and writes everything down.
//!
//! Data: the kernel's counters and breakers, sockets that wait, cgroups (`seen`) → windows and detectors
//! (`judge`) → ladders → actions (`act`) → incidents, events, metrics (`tell`). The two locks are never
//! held at once, and neither while something blocks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use guard_common::abi::ids::PairKey;

use super::state::Guard;
use crate::health::{Refusals, Window};
use crate::plan::{Action, AgentPlan, RulePlan, StepPlan};
use crate::recovery::{ActionResult, Ladder, Look, Order, Outcome, Situation};

mod act;
mod again;
mod held;
mod hook;
mod judge;
mod probe;
mod recover;
mod reset;
mod seen;
mod tell;

use judge::Judged;
use probe::Probes;
use seen::Seen;

/// From one look to the next, while all is well and while something is not.
const QUIET: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_millis(200);
/// Rest between two actions that stop processes: what one agent's restart does to the host is over before
/// the next begins.
const BETWEEN_STOPS: Duration = Duration::from_secs(5);
/// How often the totals are written down.
const SAVE: Duration = Duration::from_mins(5);

/// Whom a rule is about: its name, the bulkhead, and the service unless it is about all of that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) rule: String,
    pub(super) bulkhead: String,
    pub(super) service: Option<String>,
}

/// A bulkhead, and a service or all of it.
type Whose = (String, Option<String>);

/// A target's ladder and what belongs to it.
#[derive(Debug, Default)]
struct Live {
    ladder: Ladder,
    incident: Option<u64>,
    /// When the last step was done: what is verified happened since.
    acted: Option<Instant>,
    /// What its steps have put in place.
    held: Vec<held::Held>,
    /// Whose calls it is about, as of the last look.
    pair: Option<PairKey>,
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
    /// Calls that limits refused: of each bulkhead and service, and of each bulkhead as a whole.
    refusals: BTreeMap<Whose, Refusals>,
    /// Processes killed for want of memory, as each target has seen them.
    killed: BTreeMap<Target, Kills>,
    probes: Probes,
    waiting: VecDeque<Work>,
    running: usize,
    /// Whether one that stops processes is among them, and when the last of these ended.
    stopping: bool,
    stopped: Option<Instant>,
    /// Actions by rule, action, result.
    pub(super) counts: BTreeMap<(String, String, ActionResult), u64>,
    looked: Option<Instant>,
    saved: Option<Instant>,
}

/// Kills for want of memory.
#[derive(Clone, Copy, Debug)]
struct Kills {
    /// As of the last look.
    count: u64,
    /// When the last one was seen, or when the first look was.
    last: Instant,
    /// Whether no recovery has ended since.
    pending: bool,
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
        let now = Instant::now();
        let skipped = outcome.result == ActionResult::Skipped;
        let touched = !skipped && outcome.result != ActionResult::WouldHave;
        let mut healing = guard.healing();
        healing.running = healing.running.saturating_sub(1);
        if work.step.action.stops_processes() {
            healing.stopping = false;
            healing.stopped = if touched { Some(now) } else { healing.stopped };
        }
        // A target that was withdrawn and came back meanwhile has an incident of its own.
        let own = healing
            .targets
            .get_mut(&work.target)
            .filter(|live| live.incident == Some(work.situation.incident));
        let mut of_nobody = Live::default();
        let live = own.unwrap_or(&mut of_nobody);
        if touched {
            live.hold(&work.step.action);
        }
        let (incident, pair) = live.incident.map_or((None, None), |incident| {
            live.acted = Some(now);
            live.ladder.acted(&work.rule, skipped, now);
            (Some(incident), live.pair)
        });
        if let Some(window) = pair.and_then(|pair| healing.windows.get_mut(&pair)) {
            window.mark();
        }
        let whose = (work.target.bulkhead.clone(), work.target.service.clone());
        if let Some(refusals) = healing.refusals.get_mut(&whose) {
            refusals.mark();
        }
        drop(healing);
        guard.tell_action(incident, &work.situation, &outcome);
        guard.take_back(None, &work.target, of_nobody.held);
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
            live.pair = judged.pairs.first().copied();
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
    for (target, live) in withdrawn {
        guard.take_back(live.incident, &target, live.held);
        if let Some(incident) = live.incident {
            guard.tell_withdrawn(&target, incident);
        }
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
        Order::BeginAboveLimit { call: must_call } => {
            let id = guard.tell_begin(&situation(None), judged);
            if let Some(live) = guard.healing().targets.get_mut(target) {
                live.incident = Some(id);
            }
            let why = format!("{} recoveries in an hour did not last", rule.max_per_hour);
            let situation = Situation { incident: id, ..situation(None) };
            if must_call {
                call(guard, rule, situation, &why);
            } else {
                guard.tell_gave_up(&situation);
                guard.tell_note(id, format!("{why}; a person was called for that already"));
            }
        }
        Order::Next(step) => {
            guard.tell_not_verified(known, step, judged);
            guard.healing().enqueue(rule, target, step, situation(Some(step)));
        }
        Order::GiveUp => {
            guard.tell_not_verified(known, rule.steps.len(), judged);
            // What did not help must not go on until somebody comes.
            take_back(guard, known, target);
            // A ladder that ends with a call has made it.
            let called = rule.steps.last().is_some_and(|step| step.action == Action::Notify);
            if called {
                guard.tell_gave_up(&situation(None));
            } else {
                call(guard, rule, situation(None), "no step has helped");
            }
        }
        Order::Recovered(step) => {
            take_back(guard, known, target);
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

fn take_back(guard: &Guard, incident: Option<u64>, target: &Target) {
    let held = match guard.healing().targets.get_mut(target) {
        Some(live) => std::mem::take(&mut live.held),
        None => return,
    };
    guard.take_back(incident, target, held);
}

/// Calls a person; not for what was only tried in words.
fn call(guard: &Arc<Guard>, rule: &RulePlan, situation: Situation, why: &str) {
    let situation = Situation {
        action: "notify".into(),
        reason: format!("{why}: {}", situation.reason),
        ..situation
    };
    guard.tell_gave_up(&situation);
    if rule.dry_run || guard.lock().monitor() {
        let (result, message) = (ActionResult::WouldHave, "would have: notify".to_owned());
        guard.tell_called(&situation, &Outcome { result, message, took: Duration::ZERO });
        return;
    }
    call_in_thread(guard, situation);
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
    call_in_thread(guard, situation);
}

fn call_in_thread(guard: &Arc<Guard>, situation: Situation) {
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
        let rests = healing.stopped.is_some_and(|at| at.elapsed() < BETWEEN_STOPS);
        let stopping = healing.stopping || rests;
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
        let whose = (target.bulkhead.clone(), target.service.clone());
        if let Some(refusals) = self.refusals.get_mut(&whose) {
            refusals.forget();
        }
        if let Some(kills) = self.killed.get_mut(target) {
            kills.pending = false;
        }
    }

    /// Targets that no rule of the plan is about any more, with their open incidents.
    fn withdraw(&mut self, seen: &Seen) -> Vec<(Target, Live)> {
        let stays =
            |target: &Target| seen.rules.iter().any(|rule| judge::is_about(rule, target, seen));
        let gone: Vec<Target> =
            self.targets.keys().filter(|target| !stays(target)).cloned().collect();
        self.waiting.retain(|work| stays(&work.target));
        self.killed.retain(|target, _| stays(target));
        gone.into_iter()
            .filter_map(|target| {
                let live = self.targets.remove(&target)?;
                Some((target, live))
            })
            .collect()
    }

    /// Takes up the incidents that an earlier guardd has left open: they may only end.
    fn take_up(&mut self, target: Target, incident: u64) {
        let ladder = Ladder::of_open_incident();
        self.targets.insert(target, Live { ladder, incident: Some(incident), ..Live::default() });
    }

    fn look_of(&self, target: &Target) -> Option<&Live> {
        self.targets.get(target)
    }
}

/// Nothing is known.
const UNKNOWN: Look = Look { sick: None, verified: None };
