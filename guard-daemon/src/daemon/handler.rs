//! Answers the control socket. Each method moves to a thread that may block: the state is behind
//! a plain lock, and faults run commands and make files.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::error::DaemonError;
use super::state::{Guard, State};
use crate::control::api::{
    AgentRequest, Agents, BreakerRequest, Breakers, Budgets, CheckpointRequest, Checkpoints,
    Doctor, Done, DrillLine, DrillPlan, DrillRequest, Drills, ErrorBody, EventQuery, EventRecord,
    Events, FaultRecord, FaultRequest, Faults, Footprint, HaltRequest, Incidents, Joined, Policies,
    RecoverRequest, Recovered, Reloaded, Status, Waits,
};
use crate::control::{Handler, JoinOrder, Peer};
use crate::fault::{Context, Engine, FaultError, FaultSpec};
use crate::observe::with_ids;
use crate::plan::OTHER;

/// guardd as the control socket sees it.
pub(crate) struct Control(pub(crate) Arc<Guard>);

impl From<DaemonError> for ErrorBody {
    fn from(error: DaemonError) -> Self {
        let exit_code = error.exit_code();
        Self { error: error.to_string(), help: "the log of guardd says more".into(), exit_code }
    }
}

impl Control {
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Guard>) -> Result<T, ErrorBody> + Send + 'static,
    ) -> Result<T, ErrorBody> {
        let guard = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&guard)).await.unwrap_or_else(|error| {
            Err(ErrorBody {
                error: format!("guardd failed while answering: {error}"),
                help: "report this with the log of guardd".into(),
                exit_code: 1,
            })
        })
    }
}

impl Handler for Control {
    async fn status(&self) -> Result<Status, ErrorBody> {
        self.blocking(|guard| Ok(guard.status_now()?)).await
    }

    async fn waits(&self) -> Result<Waits, ErrorBody> {
        self.blocking(|guard| Ok(guard.waits_now()?)).await
    }

    async fn doctor(&self) -> Result<Doctor, ErrorBody> {
        self.blocking(|guard| Ok(guard.doctor_now())).await
    }

    async fn events(&self, query: EventQuery) -> Result<Events, ErrorBody> {
        let lost = self.blocking(|guard| Ok(guard.events_lost()?)).await?;
        Ok(Events { schema: "guard.events/1".into(), events: self.0.events.select(&query), lost })
    }

    async fn follow(&self, query: EventQuery) -> Result<mpsc::Receiver<EventRecord>, ErrorBody> {
        Ok(self.0.events.follow(&query))
    }

    async fn faults(&self) -> Result<Faults, ErrorBody> {
        self.blocking(|guard| Ok(guard.faults_now())).await
    }

    async fn inject(&self, peer: Peer, request: FaultRequest) -> Result<FaultRecord, ErrorBody> {
        self.blocking(move |guard| guard.inject(&peer, &request).map_err(|e| e.body())).await
    }

    async fn clear(&self, peer: Peer, id: Option<u64>) -> Result<Faults, ErrorBody> {
        self.blocking(move |guard| guard.clear(&peer, id)).await
    }

    async fn footprint(&self) -> Result<Footprint, ErrorBody> {
        self.blocking(|guard| Ok(guard.footprint_now())).await
    }

    async fn drills(&self) -> Result<Drills, ErrorBody> {
        self.blocking(|guard| Ok(guard.drills_now())).await
    }

    async fn plan_drill(&self, request: DrillRequest) -> Result<DrillPlan, ErrorBody> {
        self.blocking(move |guard| guard.plan_drill(&request)).await
    }

    async fn begin_drill(
        &self,
        peer: Peer,
        request: DrillRequest,
    ) -> Result<mpsc::Receiver<DrillLine>, ErrorBody> {
        self.blocking(move |guard| guard.begin_drill(&peer, &request)).await
    }

    async fn abort_drill(&self, peer: Peer) -> Result<Drills, ErrorBody> {
        self.blocking(move |guard| Ok(guard.abort_drill(&peer))).await
    }

    async fn breakers(&self) -> Result<Breakers, ErrorBody> {
        self.blocking(|guard| Ok(guard.breakers_now())).await
    }

    async fn incidents(&self) -> Result<Incidents, ErrorBody> {
        self.blocking(|guard| Ok(guard.incidents_now())).await
    }

    async fn recover(&self, peer: Peer, request: RecoverRequest) -> Result<Recovered, ErrorBody> {
        self.blocking(move |guard| guard.recover(&peer, &request)).await
    }

    async fn policies(&self) -> Result<Policies, ErrorBody> {
        self.blocking(|guard| guard.policies_now()).await
    }

    async fn budgets(&self) -> Result<Budgets, ErrorBody> {
        self.blocking(|guard| Ok(guard.budgets_now())).await
    }

    async fn release_budgets(&self, peer: Peer, bulkhead: String) -> Result<Budgets, ErrorBody> {
        self.blocking(move |guard| guard.release_budgets(&peer, &bulkhead)).await
    }

    async fn change_breaker(
        &self,
        peer: Peer,
        request: BreakerRequest,
    ) -> Result<Breakers, ErrorBody> {
        self.blocking(move |guard| guard.change_breaker(&peer, &request)).await
    }

    async fn agents(&self) -> Result<Agents, ErrorBody> {
        self.blocking(|guard| Ok(guard.agents_now())).await
    }

    async fn change_agent(&self, peer: Peer, request: AgentRequest) -> Result<Agents, ErrorBody> {
        self.blocking(move |guard| guard.change_agent(&peer, &request)).await
    }

    async fn checkpoints(
        &self,
        peer: Peer,
        request: CheckpointRequest,
    ) -> Result<Checkpoints, ErrorBody> {
        self.blocking(move |guard| guard.checkpoints(&peer, &request)).await
    }

    async fn halt(&self, peer: Peer, request: HaltRequest) -> Result<Faults, ErrorBody> {
        self.blocking(move |guard| Ok(guard.halt(&peer, request.reason))).await
    }

    async fn resume(&self, peer: Peer) -> Result<Done, ErrorBody> {
        self.blocking(move |guard| Ok(guard.resume(&peer))).await
    }

    async fn reload(&self, peer: Peer, dry_run: bool) -> Result<Reloaded, ErrorBody> {
        tracing::info!(uid = peer.uid, dry_run, "reload asked for");
        self.blocking(move |guard| guard.reload(dry_run)).await
    }

    async fn join(
        &self,
        peer: Peer,
        bulkhead: String,
        order: JoinOrder,
    ) -> Result<Joined, ErrorBody> {
        self.blocking(move |guard| guard.join(&peer, &bulkhead, &order)).await
    }

    fn peer_refused(&self, _peer: &Peer) {
        self.0.peers_refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Guard {
    fn events_lost(&self) -> Result<u64, DaemonError> {
        Ok(self.lock().kernel.hook_stats()?.events_lost)
    }

    fn faults_now(&self) -> Faults {
        let state = self.lock();
        let mut faults: Vec<_> = state.faults.ended().cloned().collect();
        faults.extend(state.faults.records(&state.kernel));
        faults.sort_by_key(|fault| fault.id);
        Faults {
            schema: "guard.faults/1".into(),
            faults,
            halted: state.faults.halted().map(str::to_owned),
        }
    }

    fn inject(&self, peer: &Peer, request: &FaultRequest) -> Result<FaultRecord, FaultError> {
        let mut state = self.lock();
        if let Some(drill) = &request.drill
            && state.drill.as_ref().is_none_or(|running| running.id() != drill)
        {
            return Err(FaultError::Request(format!("drill {drill} does not run (any more)")));
        }
        let spec = FaultSpec::check(request, &state.plan, rand::random)?;
        let engine = self.engine_for(&state, &spec)?;
        let state = &mut *state;
        // The lease first: whatever takes long below, faults that are active already go on.
        let lease_until_ns = self.renew_leases(state)?;
        let Some(live) = state.bulkheads.get(&spec.bulkhead) else {
            return Err(FaultError::Request(format!("bulkhead {} is not set up", spec.bulkhead)));
        };
        let inner = state.inner_match_paths(&spec.bulkhead);
        let services = with_ids(&self.ids, |ids| match &spec.service {
            Some(name) => ids.all_services().filter(|id| ids.service_name(*id) == name).collect(),
            None => ids.all_services().collect(),
        });
        let mut context = Context {
            bulkhead: live.id,
            cgroup: live.cgroup.match_path().display().to_string(),
            inner,
            services,
            lease_until_ns,
            monitor: state.plan.daemon.mode == crate::plan::Mode::Monitor,
            kernel: &mut state.kernel,
            undo: &mut state.undo,
        };
        let id = state.faults.inject(spec, engine, &mut context)?;
        if let Err(error) = state.write_control() {
            self.end_fault(state, id, "failed");
            return Err(FaultError::Full(error.to_string()));
        }
        // The rules may have taken long.
        self.renew_leases(state)?;
        let record = state.faults.records(&state.kernel).into_iter().find(|f| f.id == id);
        let record = record.ok_or_else(|| FaultError::Full(format!("fault {id} ended at once")))?;
        tracing::warn!(
            fault = id,
            bulkhead = record.bulkhead,
            service = record.service,
            effect = record.effect,
            seconds = record.remaining_seconds,
            uid = peer.uid,
            "fault injected"
        );
        self.events.note("fault_injected", |event| {
            event.bulkhead.clone_from(&record.bulkhead);
            event.service.clone_from(&record.service);
            event.fault = Some(id);
            event.message = format!("{} by uid {}, seed {}", record.effect, peer.uid, record.seed);
        });
        Ok(record)
    }

    /// The engine that holds packets; most effects need none. Refuses a service that is protected as a
    /// whole, which no fault would ever touch.
    pub(super) fn engine_for(
        &self,
        state: &State,
        spec: &FaultSpec,
    ) -> Result<Option<Engine>, FaultError> {
        let nets = match spec.service.as_deref() {
            Some(OTHER) | None => Vec::new(),
            Some(name) => state
                .plan
                .service(name)
                .map(|service| state.resolved.service_nets(service))
                .unwrap_or_default(),
        };
        let protected = &state.plan.daemon.protected;
        let is_protected = |net| protected.iter().any(|p| p.contains(net));
        if !nets.is_empty() && nets.iter().all(is_protected) {
            return Err(FaultError::Request(format!(
                "every address of service {} is protected (daemon.protected): the fault could \
                 never act",
                spec.service.as_deref().unwrap_or(OTHER)
            )));
        }
        let Some(longest) = spec.effect.longest_hold() else { return Ok(None) };
        if state.monitor() {
            // Decides and counts in the kernel; no packet is held.
            return Ok(Some(Engine::Edt));
        }
        if let Some(live) = state.bulkheads.get(&spec.bulkhead) {
            let namespaces = live.network_namespaces();
            if let Some(foreign) = namespaces.iter().find(|n| !n.own) {
                return Err(FaultError::Engine(format!(
                    "process {} of bulkhead {} is in another network namespace, where neither this \
                     host's netfilter rules nor its qdiscs hold packets; loss and refusal work there",
                    foreign.pid, spec.bulkhead
                )));
            }
        }
        let mut addresses: Vec<_> = nets.iter().map(ipnet::IpNet::addr).collect();
        if !addresses.is_empty() {
            addresses.extend(state.redirected_to(spec.service.as_deref()));
        }
        let engine = self
            .engines
            .choose(&addresses, longest)
            .map_err(|refusal| FaultError::Engine(refusal.to_string()))?;
        state.check_engine(engine, &spec.bulkhead)?;
        Ok(Some(engine))
    }

    /// Ends a fault, tells everybody, and returns its record.
    pub(super) fn end_fault(&self, state: &mut State, id: u64, why: &str) -> Option<FaultRecord> {
        let (record, problems) = state.faults.clear(id, why, &mut state.kernel, &mut state.undo)?;
        for problem in &problems {
            tracing::error!(fault = id, problem, "the fault ended, but not all of it is gone");
        }
        if let Err(error) = state.write_control() {
            tracing::error!(%error, "the kernel still looks for faults, and finds none");
        }
        tracing::warn!(
            fault = id,
            why,
            matched = record.counters.matched,
            delayed = record.counters.delayed,
            dropped = record.counters.dropped,
            refused = record.counters.refused,
            "fault ended"
        );
        self.events.note("fault_ended", |event| {
            event.bulkhead.clone_from(&record.bulkhead);
            event.service.clone_from(&record.service);
            event.fault = Some(id);
            event.message = match problems.first() {
                None => format!("{}: {why}", record.effect),
                Some(problem) => format!("{}: {why}; left over: {problem}", record.effect),
            };
        });
        Some(record)
    }

    fn clear(&self, peer: &Peer, id: Option<u64>) -> Result<Faults, ErrorBody> {
        let mut state = self.lock();
        let ids = id.map_or_else(|| state.faults.ids(None), |id| vec![id]);
        tracing::info!(uid = peer.uid, ?ids, "faults cleared");
        let mut faults = Vec::new();
        for id in ids {
            match self.end_fault(&mut state, id, "cleared") {
                Some(record) => faults.push(record),
                None if state.faults.ended().any(|fault| fault.id == id) => {}
                None => {
                    return Err(ErrorBody {
                        error: format!("there is no fault {id}"),
                        help: "guardctl fault list".into(),
                        exit_code: 2,
                    });
                }
            }
        }
        let halted = state.faults.halted().map(str::to_owned);
        Ok(Faults { schema: "guard.faults/1".into(), faults, halted })
    }

    fn halt(&self, peer: &Peer, reason: String) -> Faults {
        let mut state = self.lock();
        // All at once, before anything that takes time.
        if let Err(error) = state.lease.end() {
            tracing::error!(%error, "the lease could not be ended; faults are cleared one by one");
        }
        state.faults.halt(reason.clone());
        let faults = state
            .faults
            .ids(None)
            .into_iter()
            .filter_map(|id| self.end_fault(&mut state, id, "halted"))
            .collect();
        if let Some(id) = state.drill.as_ref().map(|drill| drill.id().to_owned()) {
            self.end_drill(&mut state, &id, &format!("halted: {reason}"));
        }
        tracing::warn!(reason, uid = peer.uid, "faults halted");
        self.events.note("halted", |event| event.message.clone_from(&reason));
        Faults { schema: "guard.faults/1".into(), faults, halted: Some(reason) }
    }

    fn resume(&self, peer: &Peer) -> Done {
        let message = match self.lock().faults.resume() {
            Some(reason) => format!("faults are allowed again (they were halted: {reason})"),
            None => "faults were not halted".to_owned(),
        };
        tracing::warn!(uid = peer.uid, message, "resumed");
        self.events.note("resumed", |event| event.message.clone_from(&message));
        Done { schema: "guard.done/1".into(), message }
    }
}
