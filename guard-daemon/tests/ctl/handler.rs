//! A handler that remembers what it was asked. Its faults end by the clock.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use guard_daemon::control::api::{
    BreakerAction, BreakerRecord, BreakerRequest, Breakers, BudgetAmount, BudgetRecord, Budgets,
    BulkheadStatus, Check, CheckResult, Doctor, Done, DrillLine, DrillPlan, DrillRequest, Drills,
    ErrorBody, EventQuery, EventRecord, Events, FaultCounters, FaultRecord, FaultRequest, Faults,
    Footprint, HaltRequest, Joined, Reloaded, ServiceStatus, Status, Wait, Waits,
};
use guard_daemon::control::{Handler, JoinOrder, Peer};
use tokio::sync::{broadcast, mpsc};

pub(crate) struct TestHandler {
    pub(crate) joined: Mutex<Vec<(String, JoinOrder, Peer)>>,
    pub(crate) refused: Mutex<Vec<Peer>>,
    pub(crate) halts: Mutex<Vec<(String, Peer)>>,
    pub(crate) followers: AtomicU64,
    pub(crate) live: broadcast::Sender<EventRecord>,
    faults: Mutex<Vec<(FaultRecord, Instant)>>,
    breaker: Mutex<String>,
}

impl Default for TestHandler {
    fn default() -> Self {
        Self {
            joined: Mutex::default(),
            refused: Mutex::default(),
            halts: Mutex::default(),
            followers: AtomicU64::new(0),
            live: broadcast::channel(64).0,
            faults: Mutex::default(),
            breaker: Mutex::new("closed".into()),
        }
    }
}

/// The one breaker.
fn budgets(state: &str) -> Budgets {
    let amount = BudgetAmount { name: "calls".into(), used: 1200, limit: 1000 };
    let budget = BudgetRecord {
        bulkhead: "research".into(),
        services: vec!["github".into()],
        per_seconds: 3600,
        amounts: vec![amount],
        ends_unix_seconds: 0,
        on_exhausted: "block".into(),
        state: state.into(),
    };
    Budgets { schema: "guard.budgets/1".into(), budgets: vec![budget] }
}

fn breakers(state: String, mode: &str) -> Breakers {
    let breaker = BreakerRecord {
        bulkhead: "research".into(),
        service: "github".into(),
        remaining_seconds: (state == "open").then_some(60.0),
        state,
        mode: mode.into(),
        failure_threshold: 5,
        why: "no call yet".into(),
        ..BreakerRecord::default()
    };
    Breakers { schema: "guard.breakers/1".into(), breakers: vec![breaker] }
}

/// An event of `bulkhead`.
pub(crate) fn event(seq: u64, bulkhead: &str) -> EventRecord {
    serde_json::from_value(serde_json::json!({
        "seq": seq, "time": "2026-01-02T03:04:05Z", "kind": "call_failed",
        "bulkhead": bulkhead, "service": "github", "outcome": "reset", "origin": "real",
    }))
    .unwrap()
}

fn no(error: &str, exit_code: u8) -> ErrorBody {
    ErrorBody { error: error.into(), help: "the cure".into(), exit_code }
}

impl TestHandler {
    fn stored() -> Vec<EventRecord> {
        vec![event(1, "research"), event(2, "writing"), event(3, "research")]
    }

    fn list(&self) -> Faults {
        let mut faults = self.faults.lock().unwrap();
        for (fault, end) in faults.iter_mut() {
            fault.remaining_seconds = (*end - Instant::now().min(*end)).as_secs_f64();
            if fault.state == "active" && fault.remaining_seconds == 0.0 {
                fault.state = "ended".into();
                fault.ended = "done".into();
            }
        }
        let faults = faults.iter().map(|(fault, _)| fault.clone()).collect();
        Faults { schema: "guard.faults/1".into(), faults, halted: None }
    }

    fn end(&self, wanted: impl Fn(&FaultRecord) -> bool, why: &str) -> Faults {
        self.list();
        let mut ended = Vec::new();
        for (fault, _) in self.faults.lock().unwrap().iter_mut() {
            if fault.state == "active" && wanted(fault) {
                fault.state = "ended".into();
                fault.ended = why.into();
                ended.push(fault.clone());
            }
        }
        Faults { schema: "guard.faults/1".into(), faults: ended, halted: None }
    }
}

impl Handler for TestHandler {
    async fn status(&self) -> Result<Status, ErrorBody> {
        let service = ServiceStatus {
            name: "github".into(),
            connections: 2,
            connects: 1204,
            connects_established: 1200,
            calls: BTreeMap::from([("success".into(), 1204)]),
            calls_injected: BTreeMap::new(),
            success_ratio: Some(1.0),
            p50_seconds: Some(0.2),
            p95_seconds: Some(0.4),
            p99_seconds: Some(0.5),
            breaker: Some("closed".into()),
            call_buckets: vec![],
            sent_bytes: 1,
            received_bytes: 2,
            rtt_seconds: None,
            retransmits: 0,
            faulted: 0,
            would_have: 0,
        };
        let bulkhead = BulkheadStatus {
            limits: Vec::new(),
            resources: guard_daemon::control::api::ResourceStatus::default(),
            unguarded: Vec::new(),
            name: "research".into(),
            cgroup: "/sys/fs/cgroup/research".into(),
            state: "attached".into(),
            inside: Vec::new(),
            matches: Vec::new(),
            processes: 1,
            orphans: 0,
            connections: 2,
            total: ServiceStatus { name: "all".into(), ..service.clone() },
            breakers: 1,
            open_breakers: Vec::new(),
            services: vec![service],
        };
        Ok(Status {
            schema: "guard.status/1".into(),
            version: "9.9.9".into(),
            pid: std::process::id(),
            uptime_seconds: 60.0,
            mode: "enforce".into(),
            health: "ok".into(),
            problems: vec!["caf\u{e9}\u{1b}[2J".into()],
            config_path: "/etc/guard/guard.toml".into(),
            config_age_seconds: 60.0,
            last_scrape_seconds: None,
            cgroup_root: "/sys/fs/cgroup".into(),
            delay_engine: "nfqueue".into(),
            halted: None,
            faults: vec![],
            events_lost: 0,
            bulkheads: vec![bulkhead],
        })
    }

    async fn waits(&self) -> Result<Waits, ErrorBody> {
        let wait = Wait {
            bulkhead: "research".into(),
            pid: 4711,
            process: "python".into(),
            service: "github".into(),
            peer: "127.0.0.1:443".into(),
            state: "first_byte".into(),
            seconds: 38.0,
            stalled: false,
            sent_bytes: 1229,
            received_bytes: 0,
            unacknowledged_bytes: 0,
            retransmits: 0,
            injected: false,
            fallback: false,
            verdict: "github has the request and is silent".into(),
        };
        Ok(Waits { schema: "guard.waits/1".into(), waits: vec![wait], problems: vec![] })
    }

    async fn doctor(&self) -> Result<Doctor, ErrorBody> {
        let check = Check {
            name: "delay".into(),
            result: CheckResult::Failure,
            found: "no engine".into(),
            why: "latency faults are refused".into(),
            cure: "load nfnetlink_queue".into(),
        };
        Ok(Doctor { schema: "guard.doctor/1".into(), checks: vec![check] })
    }

    async fn events(&self, query: EventQuery) -> Result<Events, ErrorBody> {
        let events = query.select(Self::stored().iter());
        Ok(Events { schema: "guard.events/1".into(), events, lost: 0 })
    }

    async fn follow(&self, query: EventQuery) -> Result<mpsc::Receiver<EventRecord>, ErrorBody> {
        let (sender, receiver) = mpsc::channel(8);
        let mut live = self.live.subscribe();
        let stored = query.select(Self::stored().iter());
        tokio::spawn(async move {
            for record in stored {
                if sender.send(record).await.is_err() {
                    return;
                }
            }
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    record = live.recv() => match record {
                        Ok(record) => if sender.send(record).await.is_err() { return },
                        Err(_) => return,
                    },
                }
            }
        });
        self.followers.fetch_add(1, Ordering::SeqCst);
        Ok(receiver)
    }

    async fn faults(&self) -> Result<Faults, ErrorBody> {
        Ok(self.list())
    }

    async fn inject(&self, _peer: Peer, request: FaultRequest) -> Result<FaultRecord, ErrorBody> {
        if request.bulkhead == "nowhere" {
            return Err(no("no bulkhead is called nowhere", 2));
        }
        let mut faults = self.faults.lock().unwrap();
        let matched = if request.service.as_deref() == Some("idle") { 0 } else { 3 };
        let fault = FaultRecord {
            id: faults.len() as u64 + 1,
            bulkhead: request.bulkhead,
            service: request.service.unwrap_or_else(|| "*".into()),
            effect: "loss 2%".into(),
            engine: "kernel".into(),
            state: "active".into(),
            ended: String::new(),
            remaining_seconds: request.duration_seconds,
            seed: request.seed.unwrap_or(7),
            drill: request.drill,
            counters: FaultCounters { matched, ..FaultCounters::default() },
            held: None,
            warnings: vec![],
        };
        let end = Instant::now() + Duration::from_secs_f64(request.duration_seconds);
        faults.push((fault.clone(), end));
        Ok(fault)
    }

    async fn footprint(&self) -> Result<Footprint, ErrorBody> {
        Ok(Footprint { schema: "guard.footprint/1".into(), ..Footprint::default() })
    }

    async fn drills(&self) -> Result<Drills, ErrorBody> {
        Ok(Drills { schema: "guard.drills/1".into(), drills: vec![], schedules: vec![] })
    }

    async fn plan_drill(&self, request: DrillRequest) -> Result<DrillPlan, ErrorBody> {
        if request.faults.iter().any(|fault| fault.bulkhead == "nowhere") {
            return Err(no("no bulkhead is called nowhere", 2));
        }
        let warnings = vec![format!("{} faults", request.faults.len())];
        Ok(DrillPlan { schema: "guard.drill_plan/1".into(), warnings, ..DrillPlan::default() })
    }

    async fn begin_drill(
        &self,
        _peer: Peer,
        request: DrillRequest,
    ) -> Result<mpsc::Receiver<DrillLine>, ErrorBody> {
        let plan = self.plan_drill(request).await?;
        let (lines, receiver) = mpsc::channel(4);
        lines.send(DrillLine { plan: Some(plan), ended: None }).await.unwrap();
        lines.send(DrillLine { plan: None, ended: Some("a test".into()) }).await.unwrap();
        Ok(receiver)
    }

    async fn abort_drill(&self, _peer: Peer) -> Result<Drills, ErrorBody> {
        self.drills().await
    }

    async fn budgets(&self) -> Result<Budgets, ErrorBody> {
        Ok(budgets("exhausted"))
    }

    async fn release_budgets(&self, _peer: Peer, bulkhead: String) -> Result<Budgets, ErrorBody> {
        if bulkhead == "research" {
            return Ok(budgets("released"));
        }
        Err(ErrorBody {
            error: format!("bulkhead {bulkhead} has no budget"),
            help: "guardctl budget list shows those that there are".into(),
            exit_code: 2,
        })
    }

    async fn breakers(&self) -> Result<Breakers, ErrorBody> {
        let state = self.breaker.lock().unwrap().clone();
        Ok(breakers(state, "enforce"))
    }

    async fn change_breaker(
        &self,
        _peer: Peer,
        request: BreakerRequest,
    ) -> Result<Breakers, ErrorBody> {
        if request.service != "github" {
            return Err(no(
                &format!("bulkhead research has no breaker for {:?}", request.service),
                2,
            ));
        }
        let mut state = self.breaker.lock().unwrap();
        let mode = request.mode.as_deref().unwrap_or("enforce");
        match request.action {
            BreakerAction::Trip => "open".clone_into(&mut state),
            BreakerAction::Reset => "closed".clone_into(&mut state),
            BreakerAction::Mode => {}
        }
        Ok(breakers(state.clone(), mode))
    }

    async fn clear(&self, _peer: Peer, id: Option<u64>) -> Result<Faults, ErrorBody> {
        let ended = self.end(|fault| id.is_none_or(|id| fault.id == id), "cleared");
        match id {
            Some(id) if ended.faults.is_empty() => Err(no(&format!("no fault {id} is active"), 1)),
            _ => Ok(ended),
        }
    }

    async fn halt(&self, peer: Peer, request: HaltRequest) -> Result<Faults, ErrorBody> {
        let ended = self.end(|_| true, "halted");
        self.halts.lock().unwrap().push((request.reason.clone(), peer));
        Ok(Faults { halted: Some(request.reason), ..ended })
    }

    async fn resume(&self, _peer: Peer) -> Result<Done, ErrorBody> {
        Ok(Done { schema: "guard.done/1".into(), message: "faults are allowed again".into() })
    }

    async fn reload(&self, _peer: Peer, dry_run: bool) -> Result<Reloaded, ErrorBody> {
        let changes = vec![format!("dry_run is {dry_run}")];
        let (needs_restart, warnings) = (vec![], vec![]);
        Ok(Reloaded { schema: "guard.reload/1".into(), changes, needs_restart, warnings })
    }

    async fn join(&self, peer: Peer, name: String, order: JoinOrder) -> Result<Joined, ErrorBody> {
        assert_ne!(name, "panic", "the panic that a test asked for");
        if name == "nowhere" {
            return Err(no("no bulkhead is called nowhere", 2));
        }
        let pids = order.pids.clone();
        self.joined.lock().unwrap().push((name, order, peer));
        Ok(Joined { schema: "guard.joined/1".into(), cgroup: "/x".into(), moved: pids })
    }

    fn peer_refused(&self, peer: &Peer) {
        self.refused.lock().unwrap().push(*peer);
    }
}
