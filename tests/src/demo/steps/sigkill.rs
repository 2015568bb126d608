//! guardd is killed in the middle of a fault. The fault must end without it, and the next guardd
//! must find and remove what the killed one left.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::others::{BULKHEAD, SERVICE};
use super::{Claim, Stage, claim, inject};
use crate::demo::daemon::unix_ns;
use crate::demo::leftovers;
use crate::demo::measure::{Calls, Span, end_ns, is_odd, seconds_until_normal};

/// What the contract allows beyond the lease.
const GRACE_SECONDS: f64 = 0.5;
const WATCH_SECONDS: f64 = 3.0;

/// Kills, watches the agents, restarts.
pub(super) fn run(stage: &mut Stage) -> Result<Vec<Claim>> {
    inject(stage, &["--for", "10m", "--latency", "300ms"])?;
    let span = stage.measure("letting it take hold", 2.0)?;
    // By EDT a fault makes nothing on the host that could be left.
    let made = stage.active_fault()?["engine"] == "nfqueue";
    let slow = stage.records(BULKHEAD, SERVICE, |record| end_ns(record) >= span.from_ns);
    let p50 = Calls::within(slow.iter(), span).p50_ms();
    ensure!(slow.iter().any(is_odd), "the fault does not act: p50 {p50:.1} ms");

    let killed_ns = stage.daemon.kill()?;
    stage.screen.line(&format!("  SIGKILL (p50 at this moment: {p50:.1} ms)"));
    stage.screen.wait("watching the agents", Duration::from_secs_f64(WATCH_SECONDS))?;
    let after = stage.records(BULKHEAD, SERVICE, |record| end_ns(record) > killed_ns);
    let normal = seconds_until_normal(after.iter(), killed_ns);
    let limit = stage.setup.lease.as_secs_f64() + GRACE_SECONDS;
    // Silence would look like normal traffic: the rest of the time must be full of calls.
    let normal_ns = killed_ns + (normal * 1e9) as u64;
    let rest = Calls::within(after.iter(), Span { from_ns: normal_ns, to_ns: unix_ns() });
    let reconnects = after.iter().filter(|record| !record.reused).count();
    let left = leftovers::find(&stage.setup);
    let gates = |found: &leftovers::Found| {
        // Beside it is what breakers are kept in, which the restart takes over.
        found.mounts.iter().filter(|mount| mount.contains("/gates ")).count()
    };
    let left_something = left.rules.len() + gates(&left) > 0;

    let seconds = stage.daemon.start()?.as_secs_f64();
    let removed = stage.daemon.log_lines("removed: left by an earlier guardd");
    for line in &removed {
        stage.screen.line(&format!("  {}", short(line)));
    }
    let now = leftovers::find(&stage.setup);
    let status = stage.ask(&["status"])?;
    let faults = status["faults"].as_array().map_or(usize::MAX, Vec::len);
    let bulkheads = status["bulkheads"].as_array().map_or(&[][..], Vec::as_slice);
    let attached = bulkheads.iter().filter(|bulkhead| bulkhead["state"] == "attached").count();
    Ok(vec![
        claim(
            normal < limit && rest.good > 20,
            format!("normal within lease + 0.5 s = {limit:.1} s"),
            format!("{normal:.2} s; then p50 {:.2} ms, {} calls", rest.p50_ms(), rest.all),
        ),
        claim(
            rest.good == rest.all && reconnects == 0,
            "no connection lost",
            format!("{reconnects} reconnects, {} failures after it", rest.all - rest.good),
        ),
        claim(
            made == left_something && now.rules.len() + gates(&now) == 0,
            "the restart removes what the fault left",
            format!(
                "rules {} -> {}, mounts {} -> {}",
                left.rules.len(),
                now.rules.len(),
                gates(&left),
                gates(&now)
            ),
        ),
        claim(
            faults == 0 && attached == bulkheads.len(),
            "guards again, without a fault",
            format!("in {seconds:.1} s; {attached} attached, {faults} faults"),
        ),
    ])
}

/// A line of the log without its time and place, at most as wide as the screen.
fn short(line: &str) -> String {
    let at = line.find("removed: left").unwrap_or(0);
    line[at..].chars().take(88).collect()
}
