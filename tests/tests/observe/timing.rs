//! Time to the first byte: between what the server waited and what the agent measured.

use std::time::Duration;

use testbed::requires;
use testbed::server::{Behaviour, Server};

use crate::rig::{RESEARCH, agent, calls_are, good_calls, metric, start, url};

const DELAY_SECONDS: f64 = 0.2;
const CALLS: u32 = 5;

#[test]
fn time_to_the_first_byte() {
    if !requires::cgroups("time_to_the_first_byte") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    server.set(Behaviour::slow(Duration::from_secs_f64(DELAY_SECONDS)));
    let guardd = start(&[("api", &[address])]);
    let mut agent = agent(&guardd, RESEARCH, &url(address), &["--keep-alive"]);
    let records = good_calls(&mut agent, CALLS);
    let seen = calls_are(&guardd, RESEARCH, "api", &[("success", u64::from(CALLS))]);

    // The hooks stand between the two clocks, so that no tolerance is needed.
    let labels = [r#"bulkhead="research""#, r#"destination="api""#];
    let sum = metric(&guardd, "guard_call_seconds_sum", &labels);
    let measured: f64 = records.iter().map(|r| r.ttfb_us.unwrap() / 1e6).sum();
    let waited = DELAY_SECONDS * f64::from(CALLS);
    assert!(sum >= waited && sum <= measured, "{waited} <= {sum} <= {measured}");

    let bucket = |bound: &str| {
        let mut all = labels.to_vec();
        let bound = format!("le=\"{bound}\"");
        all.push(&bound);
        metric(&guardd, "guard_call_seconds_bucket", &all)
    };
    assert_eq!(bucket("0.16"), 0.0, "none was faster than the server");
    assert_eq!(bucket("+Inf"), f64::from(CALLS));
    // As many in the bucket of 200 ms as the agent saw there.
    let within = records.iter().filter(|r| r.ttfb_us.unwrap() <= 320_000.0).count();
    assert!(bucket("0.32") >= within as f64, "{} of {within}", bucket("0.32"));
    let slowest = records.iter().map(|r| r.ttfb_us.unwrap() / 1e6).fold(0.0, f64::max);
    let p50 = seen.p50_seconds.unwrap();
    assert!(p50 > 0.16 && p50 <= slowest.max(0.32), "{p50}; slowest {slowest}");
}
