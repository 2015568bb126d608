use super::super::plain;
use super::*;
use crate::control::api::{FaultCounters, FaultRecord};

fn service(name: &str, success: u64, reset: u64) -> ServiceStatus {
    let mut calls = std::collections::BTreeMap::from([("success".to_owned(), success)]);
    if reset > 0 {
        calls.insert("reset".to_owned(), reset);
    }
    ServiceStatus {
        name: name.into(),
        connections: 12,
        connects: 1300,
        connects_established: 1299,
        calls,
        calls_injected: std::collections::BTreeMap::new(),
        success_ratio: Some(success as f64 / (success + reset) as f64),
        p50_seconds: Some(0.0042),
        p95_seconds: Some(0.412),
        p99_seconds: Some(0.9),
        breaker: Some("closed".into()),
        call_buckets: Vec::new(),
        sent_bytes: 10,
        received_bytes: 20,
        rtt_seconds: None,
        retransmits: 0,
        faulted: 0,
        would_have: 0,
    }
}

fn page() -> Status {
    Status {
        schema: "guard.status/1".into(),
        version: "0.1.0".into(),
        pid: 4711,
        uptime_seconds: 273_600.0,
        mode: "enforce".into(),
        health: "ok".into(),
        problems: vec![],
        config_path: "/etc/guard/guard.toml".into(),
        config_age_seconds: 7500.0,
        last_scrape_seconds: Some(9.0),
        cgroup_root: "/sys/fs/cgroup/guard-agents.slice".into(),
        delay_engine: "nfqueue".into(),
        halted: None,
        faults: vec![],
        events_lost: 0,
        agents: Vec::new(),
        bulkheads: vec![],
    }
}

fn bulkhead(name: &str, services: Vec<ServiceStatus>) -> BulkheadStatus {
    BulkheadStatus {
        limits: Vec::new(),
        resources: crate::control::api::ResourceStatus::default(),
        unguarded: Vec::new(),
        name: name.into(),
        cgroup: format!("/sys/fs/cgroup/{name}"),
        state: "attached".into(),
        inside: Vec::new(),
        matches: Vec::new(),
        processes: 3,
        orphans: 0,
        connections: 12,
        total: ServiceStatus {
            name: "all".into(),
            calls: std::collections::BTreeMap::from([("success".to_owned(), 1_204)]),
            success_ratio: Some(0.955),
            p95_seconds: Some(0.5),
            ..ServiceStatus::default()
        },
        breakers: services.len() as u64,
        open_breakers: Vec::new(),
        services,
    }
}

#[test]
fn a_busy_host() {
    let mut github = service("github", 1150, 54);
    github.faulted = 118;
    github.breaker = Some("open".into());
    let quiet = ServiceStatus {
        calls: std::collections::BTreeMap::new(),
        success_ratio: None,
        p50_seconds: None,
        p95_seconds: None,
        breaker: None,
        ..service("other", 1, 0)
    };
    let fault = FaultRecord {
        id: 3,
        bulkhead: "research".into(),
        service: "github".into(),
        effect: "latency 300ms +-50ms".into(),
        engine: "nfqueue".into(),
        state: "active".into(),
        ended: String::new(),
        remaining_seconds: 23.4,
        seed: 42,
        drill: None,
        counters: FaultCounters { matched: 120, delayed: 118, ..FaultCounters::default() },
        held: None,
        warnings: vec![],
    };
    let ended = FaultRecord { id: 2, state: "ended".into(), ..fault.clone() };
    let mut detached = bulkhead("idle", vec![]);
    detached.state = "detached: its cgroup was removed".into();
    let page = Status {
        health: "degraded".into(),
        problems: vec!["api.example.test does not resolve; its last addresses are used".into()],
        faults: vec![ended, fault],
        events_lost: 7,
        bulkheads: vec![
            BulkheadStatus {
                open_breakers: vec!["github".into(), "unused".into()],
                ..bulkhead("research", vec![github, quiet])
            },
            detached,
            bulkhead("writing", vec![service("anthropic", 318, 0)]),
        ],
        ..page()
    };
    let text = status(&page, &plain());
    insta::assert_snapshot!(text, @"
    guardd 0.1.0  degraded  pid 4711  up 3d04h   mode enforce   last scrape 9.0s ago
    config /etc/guard/guard.toml, loaded 2h05m ago   delay engine nfqueue
    cgroups /sys/fs/cgroup/guard-agents.slice
    faults 1   halt off   events lost 7

    BULKHEAD  PROCS  SERVICE    CALLS   OK %    P50    P95  CONNS  CONNECTS  FAULTED  BREAKER
    research      3  all        1 204   95.5      -  500ms      0         0        0  2 open
                     github     1 204   95.5  4.2ms  412ms     12     1 300      118  open
                     other          0      -      -      -     12     1 300        0  -
    idle          3  -
    writing       3  anthropic    318  100.0  4.2ms  412ms     12     1 300        0  closed

    FAULTS
    ID  STATE   LEFT  TARGET           EFFECT                DID
     3  active   23s  research/github  latency 300ms +-50ms  delayed 118 of 120

    ! api.example.test does not resolve; its last addresses are used
    ! idle: detached: its cgroup was removed
    ! the breaker research/unused is open
    ! 7 events were lost (the ring buffer was full); counters are complete
    ");
}

#[test]
fn limits_and_pressure() {
    use crate::control::api::{LimitRecord, ResourceStatus};
    let limit = |resource: &str, value: &str, limit: f64, state: &str| LimitRecord {
        resource: resource.into(),
        value: value.into(),
        limit,
        state: state.into(),
        ..LimitRecord::default()
    };
    let mut research = bulkhead("research", vec![]);
    research.resources = ResourceStatus {
        limits: vec![
            limit("memory_high", "1073741824", 1_073_741_824.0, "enforced"),
            limit("memory_max", "2147483648", 2_147_483_648.0, "enforced"),
            limit("cpu_max", "150000 100000", 1.5, "changed"),
            limit("pids_max", "256", 256.0, "not_enforced"),
        ],
        memory_bytes: Some(512 << 20),
        memory_high_events: Some(12),
        oom_kills: Some(2),
        cpu_throttled_seconds: Some(3.25),
        stages: vec!["throttle".into(), "refuse".into()],
        ..ResourceStatus::default()
    };
    let text = status(&Status { bulkheads: vec![research], ..page() }, &plain());
    insta::assert_snapshot!(text, @"
    guardd 0.1.0  ok  pid 4711  up 3d04h   mode enforce   last scrape 9.0s ago
    config /etc/guard/guard.toml, loaded 2h05m ago   delay engine nfqueue
    cgroups /sys/fs/cgroup/guard-agents.slice
    faults 0   halt off   events lost 0

    BULKHEAD  PROCS  SERVICE  CALLS  OK %  P50  P95  CONNS  CONNECTS  FAULTED  BREAKER
    research      3  -

    BULKHEAD  LIMIT        VALUE  IN USE  AT THE LIMIT          STATE
    research  memory_high   1GiB  512MiB  12 times slowed down  enforced
              memory_max    2GiB  512MiB  2 killed              enforced
              cpu_max       150%       -  3.2s taken away       changed
              pids_max       256       -  -                     not enforced

    research under pressure: throttle, refuse

    no faults
    ");
}

#[test]
fn an_empty_host() {
    let text = status(&Status { last_scrape_seconds: None, ..page() }, &plain());
    insta::assert_snapshot!(text, @"
    guardd 0.1.0  ok  pid 4711  up 3d04h   mode enforce   never scraped
    config /etc/guard/guard.toml, loaded 2h05m ago   delay engine nfqueue
    cgroups /sys/fs/cgroup/guard-agents.slice
    faults 0   halt off   events lost 0

    no bulkheads are configured

    no faults
    ");
}

#[test]
fn monitor_mode_shows_what_it_left_undone() {
    let mut github = service("github", 10, 0);
    github.would_have = 4;
    let page = Status {
        mode: "monitor".into(),
        halted: Some("real incident\u{1b}[2J".into()),
        bulkheads: vec![bulkhead("research", vec![github])],
        ..page()
    };
    let text = status(&page, &plain());
    insta::assert_snapshot!(text, @r"
    guardd 0.1.0  ok  pid 4711  up 3d04h   mode monitor   last scrape 9.0s ago
    config /etc/guard/guard.toml, loaded 2h05m ago   delay engine nfqueue
    cgroups /sys/fs/cgroup/guard-agents.slice
    faults 0   halted: real incident\u{1b}[2J   events lost 0

    BULKHEAD  PROCS  SERVICE  CALLS   OK %    P50    P95  CONNS  CONNECTS  FAULTED  BREAKER  WOULD
    research      3  github      10  100.0  4.2ms  412ms     12     1 300        0  closed       4

    no faults
    ");
}

#[test]
fn rows_stay_within_the_width() {
    let name = "a-very-long-name-of-something-that-somebody-configured-without-thought";
    let page =
        Status { bulkheads: vec![bulkhead(name, vec![service(name, 1_000_000, 5)])], ..page() };
    for line in status(&page, &plain()).lines() {
        assert!(line.chars().count() <= 96, "{line}");
    }
}
