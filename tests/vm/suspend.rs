//! A host that is suspended (ACPI S3) and woken by its clock: idle connections are swept, those within
//! the host are not. Runs in a virtual machine only (`cargo xtask vm`).
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::netns::Network;
use testbed::process::{Process, binary};
use testbed::server::ServerProcess;
use testbed::{cgroup, requires, wait};

const LIMIT: Duration = Duration::from_secs(60);
/// How long the host sleeps: more than what is worth a sweep.
const SLEEP_SECONDS: u32 = 10;
const ALARM: &str = "/sys/class/rtc/rtc0/wakealarm";

#[test]
fn suspend_sweeps_idle_connections() {
    let test = "suspend_sweeps_idle_connections";
    if !requires::vm(test) || !requires::program(test, "nsenter") {
        return;
    }
    let states = fs::read_to_string("/sys/power/state").unwrap_or_default();
    if !states.contains("mem") || fs::write(ALARM, "0").is_err() {
        return requires::skip(test, &format!("this kernel cannot sleep: {states:?}"));
    }
    let network = Network::new().unwrap();
    let at = SocketAddr::from((Network::SERVER, 0));
    let server = ServerProcess::start(&[at], &[], |command| network.server.wrap(&command)).unwrap();
    let api = server.address().unwrap();
    // Hours of patience: nothing but the sweep ends anything.
    let guardd = Guardd::start(GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"{api}\"]\n\
         hygiene = {{ keepalive = \"2h\", user_timeout = \"3h\" }}\n[bulkheads.a]\n"
    )))
    .unwrap();
    let probe = std::process::Command::new(binary("testbed-probe").unwrap());
    let inside = network.client.wrap(&probe);
    let mut probe = Process::spawn(&mut cgroup::wrap(&guardd.bulkhead("a"), &inside)).unwrap();
    let mut ask = |command: &str| {
        probe.send_line(command).unwrap();
        probe.next_line(LIMIT).unwrap()
    };
    assert!(!ask(&format!("tcp pooled {api}")).contains("error"));
    assert!(!ask("http pooled").contains("error"));
    let begin = Instant::now();
    fs::write(ALARM, format!("+{SLEEP_SECONDS}")).unwrap();
    fs::write("/sys/power/state", "mem").unwrap();
    println!("awake again; the process was so for {:?}", begin.elapsed());
    let labels = [r#"cause="suspend""#, r#"destination="api""#];
    let swept = || guardd.metric("guard_stale_connections_total", &labels).unwrap() == Some(1.0);
    wait::until("the sweep", LIMIT, swept).unwrap();
    assert!(ask("send pooled 10").contains("ECONNABORTED"));
    drop(probe);
    guardd.finish().unwrap();
}
