//! A host that sleeps: the whole guest is suspended to memory and woken by its clock, so it runs in a
//! virtual machine only (`cargo xtask vm`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers, also where metrics are f64")]

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::netns::Network;
use testbed::server::ServerProcess;
use testbed::{requires, wait};

#[path = "../tests/rig/mod.rs"]
mod rig;

use rig::{LIMIT, Probe, RESEARCH, breaker, events_when, metric};

/// How long the guest sleeps, s: more than what is worth a sweep.
const SLEEP_S: u32 = 8;
const ALARM: &str = "/sys/class/rtc/rtc0/wakealarm";

/// How long this machine has slept since it was started.
fn slept() -> Duration {
    let at = |clock| Duration::from(clock_gettime(clock).unwrap());
    at(ClockId::CLOCK_BOOTTIME).saturating_sub(at(ClockId::CLOCK_MONOTONIC))
}

/// Suspends the guest to memory; returns when it is awake again. Whether it can. Once for each boot: an
/// emulated clock keeps its alarm, which would end the next sleep at once.
fn suspend(test: &str) -> bool {
    let offered = fs::read_to_string("/sys/power/mem_sleep").unwrap_or_default();
    if !offered.contains("deep") || fs::write("/sys/power/mem_sleep", "deep").is_err() {
        requires::skip(test, &format!("this kernel cannot suspend to memory: {offered:?}"));
        return false;
    }
    if fs::write(ALARM, "0").is_err() {
        requires::skip(test, "this kernel has no clock that could wake it");
        return false;
    }
    let before = slept();
    fs::write(ALARM, format!("+{SLEEP_S}")).unwrap();
    fs::write("/sys/power/state", "mem").unwrap();
    let took = slept().saturating_sub(before);
    println!("slept for {took:?}");
    assert!(took > Duration::from_secs(5), "{took:?}");
    true
}

#[test]
fn what_was_idle_before_a_suspend_is_ended_after_it() {
    let test = "what_was_idle_before_a_suspend_is_ended_after_it";
    if !requires::vm(test) {
        return;
    }
    let network = Network::new().unwrap();
    let at = SocketAddr::from((Network::SERVER, 0));
    let ends = [at, at];
    let server = ServerProcess::start(&ends, &[], |command| network.server.wrap(&command)).unwrap();
    let (swept, kept) = (server.addresses()[0], server.addresses()[1]);
    let guardd = Guardd::start(GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{swept}\"]\n[services.kept]\nendpoints = [\"{kept}\"]\n\
         hygiene.sweep = \"off\"\n[defaults.breaker]\nfailure_threshold = 1\n\
         [bulkheads.{RESEARCH}]\n"
    )))
    .unwrap();
    let suspended = |service: &str| {
        let service = format!("destination=\"{service}\"");
        metric(&guardd, "guard_stale_connections_total", &[r#"cause="suspend""#, &service])
    };
    let mut probe =
        Probe::within(&guardd.bulkhead(RESEARCH), |command| network.client.wrap(&command));
    for (name, end) in [("swept", swept), ("kept", kept)] {
        probe.must(&format!("tcp {name} {end}"));
        probe.must(&format!("http {name}"));
    }
    if !suspend(test) {
        return;
    }
    let came = wait::until("the sweep", LIMIT, || suspended("api") == 1.0);
    assert!(came.is_ok(), "{}", guardd.ctl(&["events"]).unwrap().stdout);
    assert_eq!(events_when(&guardd, "stale_connection", 1).len(), 1);
    // The agent hears of it at once, connects anew, and nothing counts against the service.
    assert_eq!(probe.ask("send swept 10")["error"], "ECONNABORTED");
    probe.must(&format!("tcp anew {swept}"));
    probe.must("http anew");
    assert_eq!(breaker(&guardd, RESEARCH)["state"], "closed");
    // Where it is not wanted the connection outlives the sleep: both ends slept.
    probe.must("http kept");
    assert_eq!(suspended("kept"), 0.0);
    drop(probe);
    guardd.finish().unwrap();
}
