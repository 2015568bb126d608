use proptest::prelude::*;

use super::*;
use crate::plan::{
    BulkheadPlan, CgroupRoot, DaemonPlan, Endpoint, EndpointHost, Mode, OnExit, Protocol,
    ServiceClass, ServicePlan,
};

fn plan() -> Plan {
    Plan {
        daemon: DaemonPlan {
            mode: Mode::Enforce,
            state_dir: "/nowhere".into(),
            control_socket: "/nowhere/socket".into(),
            metrics_listen: None,
            cgroup_root: CgroupRoot::Auto,
            fault_lease: Duration::from_secs(2),
            on_exit: OnExit::Detach,
            protected: Vec::new(),
        },
        services: vec![ServicePlan {
            name: "github".into(),
            endpoints: vec![Endpoint { host: EndpointHost::Name("localhost".into()), port: None }],
            class: ServiceClass::Generic,
            protocol: Protocol::Auto,
        }],
        bulkheads: vec![BulkheadPlan { name: "research".into(), cgroup: "research".into() }],
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
    assert_eq!((spec.seed, spec.effect.probability()), (9, PROBABILITY_ALWAYS / 5));
    let refuse = FaultRequest {
        refuse_percent: Some(100.0),
        errno: Some("EHOSTUNREACH".into()),
        ..request()
    };
    assert_eq!(check(&refuse).unwrap().effect.text(), "refuse 100% EHOSTUNREACH");
}

#[test]
fn bad_requests_say_what_is_wrong() {
    let cases: [(FaultRequest, &str); 12] = [
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
        refuse_percent: Option<f64>,
    ) {
        let request = FaultRequest {
            duration_seconds, latency_seconds, jitter_seconds, loss_percent, refuse_percent, ..request()
        };
        if let Ok(spec) = check(&request) {
            prop_assert!(spec.effect.probability() <= PROBABILITY_ALWAYS);
            prop_assert!(spec.duration <= Duration::from_hours(24));
        }
    }
}
