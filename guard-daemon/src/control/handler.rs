//! What the daemon implements to answer the control socket: one method per row of the table in
//! [`api`](super::api). The server has checked who asks and what before it calls any of them.

use tokio::sync::mpsc;

use super::api::{
    AgentRequest, Agents, BreakerRequest, Breakers, Budgets, CheckpointRequest, Checkpoints,
    Doctor, Done, DrillLine, DrillPlan, DrillRequest, Drills, ErrorBody, EventQuery, EventRecord,
    Events, FaultRecord, FaultRequest, Faults, Footprint, HaltRequest, Incidents, Joined, Policies,
    RecoverRequest, Recovered, Reloaded, Status, Waits,
};
use super::peer::Peer;

/// What [`Handler::join`] shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinOrder {
    /// Processes to move, in this order; never empty.
    pub pids: Vec<u32>,
    /// The process asks for itself, which `exec` does.
    pub itself: bool,
    /// As in [`JoinRequest::sub`](super::api::JoinRequest::sub).
    pub sub: Option<String>,
    /// Descendants too.
    pub tree: bool,
    /// The peer is nobody but the owner of a bulkhead.
    pub owner_only: bool,
}

/// Answers requests. Every method runs in a task of its own to its end, even when the client
/// has gone away in between: half a reload would be worse than an unread answer.
pub trait Handler: Send + Sync + 'static {
    /// `GET /v1/status`.
    fn status(&self) -> impl Future<Output = Result<Status, ErrorBody>> + Send;

    /// `GET /v1/waits`.
    fn waits(&self) -> impl Future<Output = Result<Waits, ErrorBody>> + Send;

    /// `GET /v1/doctor`.
    fn doctor(&self) -> impl Future<Output = Result<Doctor, ErrorBody>> + Send;

    /// `GET /v1/events`: what [`EventQuery::select`] leaves of the events kept.
    fn events(&self, query: EventQuery) -> impl Future<Output = Result<Events, ErrorBody>> + Send;

    /// `GET /v1/events?follow=true`: what [`EventQuery::select`] leaves of the events kept, then
    /// each new one (the server drops those that do not match). The sender notices by a closed
    /// channel that the client has gone; ending it ends the client's stream.
    fn follow(
        &self,
        query: EventQuery,
    ) -> impl Future<Output = Result<mpsc::Receiver<EventRecord>, ErrorBody>> + Send;

    /// `GET /v1/faults`.
    fn faults(&self) -> impl Future<Output = Result<Faults, ErrorBody>> + Send;

    /// `POST /v1/faults`.
    fn inject(
        &self,
        peer: Peer,
        request: FaultRequest,
    ) -> impl Future<Output = Result<FaultRecord, ErrorBody>> + Send;

    /// `DELETE /v1/faults/ID`, or every fault with `None`.
    fn clear(
        &self,
        peer: Peer,
        id: Option<u64>,
    ) -> impl Future<Output = Result<Faults, ErrorBody>> + Send;

    /// `GET /v1/footprint`.
    fn footprint(&self) -> impl Future<Output = Result<Footprint, ErrorBody>> + Send;

    /// `GET /v1/drills`.
    fn drills(&self) -> impl Future<Output = Result<Drills, ErrorBody>> + Send;

    /// `POST /v1/drills?dry_run=true`: everything is checked, nothing changed.
    fn plan_drill(
        &self,
        request: DrillRequest,
    ) -> impl Future<Output = Result<DrillPlan, ErrorBody>> + Send;

    /// `POST /v1/drills`: the plan, and signs of life. The drill, and each fault injected in its
    /// name, ends when the receiver is dropped, which the server does when the client has gone.
    fn begin_drill(
        &self,
        peer: Peer,
        request: DrillRequest,
    ) -> impl Future<Output = Result<mpsc::Receiver<DrillLine>, ErrorBody>> + Send;

    /// `DELETE /v1/drills`.
    fn abort_drill(&self, peer: Peer) -> impl Future<Output = Result<Drills, ErrorBody>> + Send;

    /// `GET /v1/breakers`.
    fn breakers(&self) -> impl Future<Output = Result<Breakers, ErrorBody>> + Send;

    /// `POST /v1/breakers`.
    fn change_breaker(
        &self,
        peer: Peer,
        request: BreakerRequest,
    ) -> impl Future<Output = Result<Breakers, ErrorBody>> + Send;

    /// `GET /v1/budgets`.
    fn budgets(&self) -> impl Future<Output = Result<Budgets, ErrorBody>> + Send;

    /// `POST /v1/budgets`.
    fn release_budgets(
        &self,
        peer: Peer,
        bulkhead: String,
    ) -> impl Future<Output = Result<Budgets, ErrorBody>> + Send;

    /// `GET /v1/incidents`.
    fn incidents(&self) -> impl Future<Output = Result<Incidents, ErrorBody>> + Send;

    /// `POST /v1/recover`.
    fn recover(
        &self,
        peer: Peer,
        request: RecoverRequest,
    ) -> impl Future<Output = Result<Recovered, ErrorBody>> + Send;

    /// `GET /v1/policies`.
    fn policies(&self) -> impl Future<Output = Result<Policies, ErrorBody>> + Send;

    /// `GET /v1/agents`.
    fn agents(&self) -> impl Future<Output = Result<Agents, ErrorBody>> + Send;

    /// `POST /v1/agents`.
    fn change_agent(
        &self,
        peer: Peer,
        request: AgentRequest,
    ) -> impl Future<Output = Result<Agents, ErrorBody>> + Send;

    /// `POST /v1/checkpoints`.
    fn checkpoints(
        &self,
        peer: Peer,
        request: CheckpointRequest,
    ) -> impl Future<Output = Result<Checkpoints, ErrorBody>> + Send;

    /// `POST /v1/halt`.
    fn halt(
        &self,
        peer: Peer,
        request: HaltRequest,
    ) -> impl Future<Output = Result<Faults, ErrorBody>> + Send;

    /// `POST /v1/resume`.
    fn resume(&self, peer: Peer) -> impl Future<Output = Result<Done, ErrorBody>> + Send;

    /// `POST /v1/reload`.
    fn reload(
        &self,
        peer: Peer,
        dry_run: bool,
    ) -> impl Future<Output = Result<Reloaded, ErrorBody>> + Send;

    /// `POST /v1/bulkheads/NAME/join`. A request without pids means the process that asks, and the
    /// server has put its pid in (and checked that it still runs).
    fn join(
        &self,
        peer: Peer,
        bulkhead: String,
        order: JoinOrder,
    ) -> impl Future<Output = Result<Joined, ErrorBody>> + Send;

    /// A peer that may not was turned away (and logged); for a counter.
    fn peer_refused(&self, peer: &Peer);
}
