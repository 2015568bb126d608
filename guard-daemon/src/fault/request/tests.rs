use guard_common::abi::fault::PROBABILITY_ALWAYS;
use proptest::prelude::*;

use super::*;
use crate::plan::{
    BulkheadPlan, CgroupRoot, DaemonPlan, Endpoint, EndpointHost, Fail, LimitRules, Mode, OnExit,
    Protocol, ServiceClass, ServicePlan,
};

fn plan() -> Plan {
    Plan {
        schedules: Vec::new(),
        recovery: crate::plan::RecoveryPlan::default(),
        retry_policies: Vec::new(),
        agents: Vec::new(),
        limits: LimitRules::default(),
        daemon: DaemonPlan {
            mode: Mode::Enforce,
            strict: false,
            state_dir: "/nowhere".into(),
            control_socket: "/nowhere/socket".into(),
            metrics_listen: None,
            cgroup_root: CgroupRoot::Auto,
            fault_lease: Duration::from_secs(2),
            on_exit: OnExit::Detach,
            fail: Fail::Static,
            heartbeat_timeout: Duration::from_secs(30),
            protected: Vec::new(),
        },
        services: vec![ServicePlan {
            fallback: crate::plan::FallbackPlan {
                places: Vec::new(),
                check_every: std::time::Duration::from_secs(5),
            },
            name: "github".into(),
            endpoints: vec![Endpoint { host: EndpointHost::Name("localhost".into()), port: None }],
            class: ServiceClass::Generic,
            protocol: Protocol::Auto,
            timeouts: crate::plan::TimeoutSettings::default(),
            hygiene: crate::plan::HygieneSettings::default(),
            gateway: None,
        }],
        hygiene: crate::plan::HygieneSettings::default(),
        breakers: crate::plan::BreakerRules::default(),
        bulkheads: vec![BulkheadPlan {
            name: "research".into(),
            cgroup: "research".into(),
            timeouts: crate::plan::BulkheadTimeouts::default(),
            pattern: None,
            owner: None,
            orphans: crate::plan::OrphanPlan::default(),
            limits: crate::plan::LimitsPlan::default(),
            pressure: None,
            sockets: crate::plan::SocketKinds::default(),
        }],
    }
}

fn request() -> FaultRequest {
    FaultRequest {
        bulkhead: "research".into(),
        service: Some("github".into()),
        duration_seconds: 30.0,
        ..FaultRequest::default()
    }
}

fn check(request: &FaultRequest) -> Result<FaultSpec, String> {
    FaultSpec::check(request, &plan(), || 7).map_err(|e| e.to_string())
}

#[test]
fn good_requests() {
    let latency =
        FaultRequest { latency_seconds: Some(0.3), jitter_seconds: Some(0.05), ..request() };
    let spec = check(&latency).unwrap();
    assert_eq!(spec.effect.text(), "latency 300ms +-50ms");
    assert_eq!((spec.seed, spec.duration), (7, Duration::from_secs(30)));
    let loss = FaultRequest { loss_percent: Some(20.0), seed: Some(9), ..request() };
    let spec = check(&loss).unwrap();
    assert_eq!((spec.seed, spec.effect.chances()), (9, (PROBABILITY_ALWAYS / 5, 0)));
    let bell = FaultRequest { distribution: Some("normal".into()), ..latency };
    assert_eq!(check(&bell).unwrap().effect.text(), "latency 300ms +-50ms normal");
    let burst = FaultRequest { loss_burst: Some(4.0), loss_percent: Some(5.0), ..loss };
    let spec = check(&burst).unwrap();
    assert_eq!(spec.effect.text(), "loss 5% in bursts of 4");
    // A burst ends with 1/4, so it begins with 0.05 / (4 x 0.95).
    assert_eq!(spec.effect.chances(), (56_512_728, PROBABILITY_ALWAYS / 4));
    let refuse = FaultRequest {
        refuse_percent: Some(100.0),
        errno: Some("EHOSTUNREACH".into()),
        ..request()
    };
    assert_eq!(check(&refuse).unwrap().effect.text(), "refuse 100% EHOSTUNREACH");
}

#[test]
fn bad_requests_say_what_is_wrong() {
    let cases: [(FaultRequest, &str); 17] = [
        (FaultRequest { bulkhead: "nobody".into(), ..request() }, "there are: research"),
        (FaultRequest { service: Some("gitlab".into()), ..request() }, "there are: github, other"),
        (FaultRequest { service: None, loss_percent: Some(1.0), ..request() }, "--unsafe-all"),
        (FaultRequest { duration_seconds: 0.0, loss_percent: Some(1.0), ..request() }, "above 0"),
        (FaultRequest { duration_seconds: 1e9, ..request() }, "between 0 and 86400"),
        (FaultRequest { duration_seconds: f64::NAN, ..request() }, "between 0 and 86400"),
        (request(), "exactly one of"),
        (
            FaultRequest { loss_percent: Some(1.0), latency_seconds: Some(1.0), ..request() },
            "exactly one of",
        ),
        (FaultRequest { loss_percent: Some(0.0), ..request() }, "above 0 and at most 100"),
        (FaultRequest { loss_percent: Some(100.1), ..request() }, "above 0 and at most 100"),
        (
            FaultRequest { latency_seconds: Some(0.1), jitter_seconds: Some(0.2), ..request() },
            "must not be larger",
        ),
        (
            FaultRequest {
                latency_seconds: Some(0.1),
                jitter_seconds: Some(0.1),
                distribution: Some("gauss".into()),
                ..request()
            },
            "is not one of uniform, normal, pareto",
        ),
        (
            FaultRequest {
                latency_seconds: Some(0.1),
                distribution: Some("normal".into()),
                ..request()
            },
            "with a jitter only",
        ),
        (
            FaultRequest { refuse_percent: Some(1.0), loss_burst: Some(2.0), ..request() },
            "with a loss only",
        ),
        (
            FaultRequest { loss_percent: Some(1.0), loss_burst: Some(0.5), ..request() },
            "between 1 and 10000 packets",
        ),
        (
            FaultRequest { loss_percent: Some(90.0), loss_burst: Some(4.0), ..request() },
            "lose 80%, not 90%",
        ),
        (
            FaultRequest { refuse_percent: Some(1.0), errno: Some("EBOGUS".into()), ..request() },
            "is not one of ECONNREFUSED",
        ),
    ];
    for (request, expected) in cases {
        let error = check(&request).expect_err(expected);
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    }
}

proptest! {
    #[test]
    fn numbers_of_any_kind_never_crash(
        duration_seconds: f64,
        latency_seconds: Option<f64>,
        jitter_seconds: Option<f64>,
        loss_percent: Option<f64>,
        loss_burst: Option<f64>,
        refuse_percent: Option<f64>,
    ) {
        let request = FaultRequest {
            duration_seconds, latency_seconds, jitter_seconds, loss_percent, loss_burst,
            refuse_percent, ..request()
        };
        if let Ok(spec) = check(&request) {
            let (probability, burst_end) = spec.effect.chances();
            prop_assert!((1..=PROBABILITY_ALWAYS).contains(&probability), "{:?}", spec.effect);
            prop_assert!(burst_end <= PROBABILITY_ALWAYS);
            let bursts = matches!(spec.effect, Effect::Loss { burst: Some(_), .. });
            prop_assert_eq!(burst_end != 0, bursts);
            prop_assert!(spec.duration <= Duration::from_hours(24));
        }
    }
}
