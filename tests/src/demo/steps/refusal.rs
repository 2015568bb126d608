//! Refused connects: the errno that the agent sees, and how fast it sees it.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result};
use testbed::agent::{AgentProcess, Record};
use testbed::stats;

use super::others::{self, BULKHEAD, SERVICE};
use super::{Claim, Stage, claim, inject};
use crate::demo::agents::exec;
use crate::demo::measure::{Calls, Span};

/// Refused connects and connects to a closed port take turns, because a busy host is not equally
/// busy all the time.
const ROUNDS: usize = 4;
const CONNECTS: usize = 500;
const OTHERS: usize = 200;
const ERRNO: &str = "ETIMEDOUT";

/// Injects the fault and lets agents connect.
pub(super) fn run(stage: &mut Stage) -> Result<Vec<Claim>> {
    let touched = others::touched(stage)?;
    inject(stage, &["--for", "30s", "--refuse", "100%", "--errno", ERRNO])?;
    let from_ns = crate::demo::daemon::unix_ns();
    let (mut refused, mut closed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        refused.extend(connects(stage, BULKHEAD, CONNECTS)?);
        closed.extend(closed_port()?);
    }
    let passed = connects(stage, "writing", OTHERS)?;
    let span = Span { from_ns, to_ns: crate::demo::daemon::unix_ns() };
    stage.ctl(&["fault", "clear", "--all"])?;
    let all = refused.len();

    let with_errno = refused.iter().filter(|record| record.outcome == ERRNO).count();
    let times: Vec<f64> = refused.iter().filter_map(|record| record.connect_us).collect();
    let p50 = stats::median(&times).unwrap_or(f64::INFINITY);
    let p95 = stats::quantile(&times, 0.95).unwrap_or(f64::INFINITY);
    let closed = stats::median(&closed).context("a closed port refused nothing")?;
    let good = passed.iter().filter(|record| record.is_ok()).count();
    let kept = stage.records(BULKHEAD, SERVICE, |_| true);
    let kept = Calls::within(kept.iter(), span);
    Ok(vec![
        claim(
            with_errno == all && all == ROUNDS * CONNECTS,
            format!("100 % of connects: {ERRNO}"),
            format!("{with_errno} of {all} connects"),
        ),
        claim(
            p50 < closed,
            format!("sooner than a closed port: {closed:.1} us"),
            format!("p50 {p50:.1} us, p95 {p95:.1} us per connect"),
        ),
        claim(
            kept.all > 0 && kept.good == kept.all,
            "open connections go on",
            format!("{} of {} calls on them good", kept.good, kept.all),
        ),
        claim(good == OTHERS, "writing -> github connects", format!("{good} of {OTHERS}")),
        others::untouched(stage, touched, "connects")?,
    ])
}

/// Times of refusals by a port where nobody listens, outside the bulkheads, microseconds.
fn closed_port() -> Result<Vec<f64>> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (target, count) = (format!("connect://{port}"), CONNECTS.to_string());
    let agent = AgentProcess::start(&["--target", &target, "--count", &count], |agent| agent)?;
    let (records, _) = agent.finish(Duration::from_secs(30))?;
    let refused = records.iter().filter(|record| record.outcome == "ECONNREFUSED");
    Ok(refused.filter_map(|record| record.connect_us).collect())
}

/// So many connects, one after the other, from an agent in this bulkhead.
fn connects(stage: &Stage, bulkhead: &str, count: usize) -> Result<Vec<Record>> {
    let addresses = stage.setup.addresses(SERVICE);
    let mut args = vec!["--count".to_owned(), count.to_string()];
    for address in addresses {
        args.extend(["--target".to_owned(), format!("connect://{address}")]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let agent = exec(&stage.setup, bulkhead, &args)?;
    Ok(agent.finish(Duration::from_secs(30))?.0)
}
