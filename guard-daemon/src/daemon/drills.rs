//! The daemon's part of a drill: checks all its faults before any is injected, and ties them to the
//! control connection of whoever runs it. It judges nothing, and runs nothing of a drill file: the
//! drill itself runs in guardctl, with the operator's rights.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::state::{Guard, State};
use crate::control::Peer;
use crate::control::api::{
    DrillLine, DrillPlan, DrillRequest, Drills, ErrorBody, PlannedFault, RunningDrill,
};
use crate::fault::{Engine, FaultError, FaultSpec};
use crate::plan::ServicePlan;

/// How often the client gets a sign of life.
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// Signs of life that a client may leave unread.
const LINES_AHEAD: usize = 16;
const ID_MAX_BYTES: usize = 64;
/// What no fault touches whatever the configuration says (DESIGN.md, "Lifeline").
const ALWAYS_PROTECTED: [&str; 3] = ["guardd's control socket", "guardd's metrics port", "port 22"];

/// The drill that runs.
pub(crate) struct ActiveDrill {
    id: String,
    name: String,
    purpose: String,
    uid: u32,
    began: Instant,
    lines: mpsc::Sender<DrillLine>,
}

impl ActiveDrill {
    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Tells the client why guardd ended it. A client that reads nothing notices by the stream's end.
    fn tell_end(&self, why: &str) {
        let line = DrillLine { ended: Some(why.to_owned()), ..DrillLine::default() };
        if let Err(error) = self.lines.try_send(line) {
            tracing::debug!(drill = self.id, %error, "the end of a drill was not told");
        }
    }
}

fn wrong(error: String, help: &str) -> ErrorBody {
    ErrorBody { error, help: help.to_owned(), exit_code: 2 }
}

impl Guard {
    /// What a drill would do here. Everything that can be known to fail fails now.
    pub(super) fn plan_drill(&self, request: &DrillRequest) -> Result<DrillPlan, ErrorBody> {
        self.plan_drill_in(&self.lock(), request)
    }

    fn plan_drill_in(&self, state: &State, request: &DrillRequest) -> Result<DrillPlan, ErrorBody> {
        let named = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if request.id.is_empty()
            || request.id.len() > ID_MAX_BYTES
            || !request.id.chars().all(named)
        {
            let error = format!("{:?} is not the id of a drill's run", request.id);
            return Err(wrong(error, "letters, digits and `-`, at most 64"));
        }
        if let Some(reason) = state.faults.halted() {
            return Err(FaultError::Halted(reason.to_owned()).body());
        }
        if request.faults.is_empty() {
            let error = format!("drill {} has no fault", request.name);
            return Err(wrong(error, "it would prove nothing: add a [[fault]]"));
        }
        let mut plan = DrillPlan { schema: "guard.drill_plan/1".into(), ..DrillPlan::default() };
        let mut queued: Vec<FaultSpec> = Vec::new();
        for fault in &request.faults {
            // The seed is not needed to plan.
            let spec = FaultSpec::check(fault, &state.plan, || 0).map_err(|error| error.body())?;
            let engine = self.engine_for(state, &spec).map_err(|error| error.body())?;
            plan.faults.push(planned(state, &spec, engine)?);
            if engine != Some(Engine::Nfqueue) {
                continue;
            }
            if let Some(other) = queued.iter().find(|other| other.meets(&spec)) {
                let error = format!(
                    "{} and {} would hold the same packets of {} at the same time, and the NFQUEUE \
                     engine holds a packet once",
                    other.text(),
                    spec.text(),
                    spec.bulkhead
                );
                return Err(wrong(error, "let one end before the other begins, or leave one out"));
            }
            queued.push(spec);
        }
        plan.protected = state.plan.daemon.protected.iter().map(ToString::to_string).collect();
        plan.protected.extend(ALWAYS_PROTECTED.map(str::to_owned));
        let is_target = |name: &str| plan.faults.iter().any(|fault| fault.bulkhead == name);
        plan.bystanders = state.bulkheads.keys().filter(|name| !is_target(name)).cloned().collect();
        if state.monitor() {
            plan.warnings.push(
                "mode = \"monitor\": the faults are counted and touch nothing, so the drill will \
                 be inconclusive"
                    .into(),
            );
        }
        let others = state.faults.ids(None).len();
        if others > 0 {
            plan.warnings.push(format!(
                "{others} faults are active already: they are not the drill's, and spoil what it \
                 measures (guardctl fault list)"
            ));
        }
        Ok(plan)
    }

    /// Begins a drill. Dropping the receiver ends it.
    pub(super) fn begin_drill(
        self: &Arc<Self>,
        peer: &Peer,
        request: &DrillRequest,
    ) -> Result<mpsc::Receiver<DrillLine>, ErrorBody> {
        let (lines, receiver) = mpsc::channel(LINES_AHEAD);
        let mut state = self.lock();
        if let Some(other) = &state.drill {
            return Err(ErrorBody {
                error: format!("drill {} (run {}) is running", other.name, other.id),
                help: "wait for its end, or end it: guardctl drill abort".into(),
                exit_code: 1,
            });
        }
        let plan = self.plan_drill_in(&state, request)?;
        let first = DrillLine { plan: Some(plan), ..DrillLine::default() };
        // The channel is new and has room.
        if let Err(error) = lines.try_send(first) {
            return Err(wrong(format!("the plan of the drill could not be told: {error}"), ""));
        }
        tracing::warn!(drill = request.id, name = request.name, uid = peer.uid, "drill begun");
        self.events.note("drill_begun", |event| {
            event.message = format!("{} (run {}) by uid {}", request.name, request.id, peer.uid);
        });
        state.drill = Some(ActiveDrill {
            id: request.id.clone(),
            name: request.name.clone(),
            purpose: request.purpose.clone(),
            uid: peer.uid,
            began: Instant::now(),
            lines: lines.clone(),
        });
        drop(state);
        tokio::spawn(watch(Arc::downgrade(self), request.id.clone(), lines));
        Ok(receiver)
    }

    /// The drill that runs, if any, and the schedules.
    pub(super) fn drills_now(&self) -> Drills {
        let state = self.lock();
        let schedules = state.schedules.statuses(&state.plan.schedules, &jiff::Zoned::now());
        Drills { schedules, ..drills(state.running_drill().into_iter().collect()) }
    }

    /// Ends the drill that runs, and with it its faults.
    pub(super) fn abort_drill(&self, peer: &Peer) -> Drills {
        let mut state = self.lock();
        let running = state.running_drill();
        if let Some(drill) = &running {
            self.end_drill(&mut state, &drill.id, &format!("aborted by uid {}", peer.uid));
        }
        drills(running.into_iter().collect())
    }

    /// Ends a drill, if it is the one that runs, and with it its faults.
    pub(super) fn end_drill(&self, state: &mut State, id: &str, why: &str) {
        let Some(drill) = state.drill.take_if(|drill| drill.id == id) else { return };
        for fault in state.faults.ids_of_drill(id) {
            self.end_fault(state, fault, why);
        }
        drill.tell_end(why);
        tracing::warn!(drill = id, why, "drill ended");
        self.events.note("drill_ended", |event| {
            event.message = format!("{} (run {id}): {why}", drill.name);
        });
    }
}

impl State {
    fn running_drill(&self) -> Option<RunningDrill> {
        self.drill.as_ref().map(|drill| RunningDrill {
            id: drill.id.clone(),
            name: drill.name.clone(),
            purpose: drill.purpose.clone(),
            uid: drill.uid,
            seconds: drill.began.elapsed().as_secs_f64(),
            faults: self.faults.ids_of_drill(&drill.id),
        })
    }
}

fn drills(drills: Vec<RunningDrill>) -> Drills {
    Drills { schema: "guard.drills/1".into(), drills, schedules: Vec::new() }
}

/// Gives signs of life until the client has gone, and ends the drill then. A client that is stopped
/// has not gone, though it reads nothing: the deadlines of its faults end them.
async fn watch(guard: Weak<Guard>, id: String, lines: mpsc::Sender<DrillLine>) {
    loop {
        tokio::select! {
            () = lines.closed() => break,
            () = tokio::time::sleep(ALIVE_EVERY) => {}
        }
        if let Err(mpsc::error::TrySendError::Closed(_)) = lines.try_send(DrillLine::default()) {
            break;
        }
    }
    let Some(guard) = guard.upgrade() else { return };
    let ended = tokio::task::spawn_blocking(move || {
        let mut state = guard.lock();
        guard.end_drill(&mut state, &id, "drill over");
    });
    if let Err(error) = ended.await {
        tracing::error!(%error, "a drill's client has gone, and its faults were not ended");
    }
}

/// One fault as it would be.
fn planned(
    state: &State,
    spec: &FaultSpec,
    engine: Option<Engine>,
) -> Result<PlannedFault, ErrorBody> {
    let Some(live) = state.bulkheads.get(&spec.bulkhead) else {
        let error = format!("bulkhead {} is not set up", spec.bulkhead);
        return Err(wrong(error, "guardctl status says why"));
    };
    let addresses = |service: &ServicePlan| {
        state.resolved.service_nets(service).iter().map(ToString::to_string).collect()
    };
    let service = spec.service.as_deref();
    let start_seconds = spec.start_after.as_secs_f64();
    Ok(PlannedFault {
        bulkhead: spec.bulkhead.clone(),
        cgroup: live.cgroup.path().display().to_string(),
        pids: live.pids(),
        service: service.unwrap_or("*").to_owned(),
        addresses: service
            .and_then(|name| state.plan.service(name))
            .map(addresses)
            .unwrap_or_default(),
        effect: spec.text(),
        engine: engine.map_or("kernel", Engine::name).to_owned(),
        start_seconds,
        end_seconds: start_seconds + spec.duration.as_secs_f64(),
    })
}
