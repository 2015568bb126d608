//! Help for tests that need root: each runs in a network namespace of its own, so that it can
//! neither meet another test nor leave anything on the host.

use std::panic::resume_unwind;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

use super::netlink::{ACK, Builder, Connection, REQUEST};

/// Whether the caller is root; if not, prints why the test is skipped.
pub(crate) fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIPPED {test}: it needs root (network namespace, netfilter)");
    }
    root
}

/// How many times slower than a real machine this one is: tests in virtual machines set
/// `GUARD_TIME_SCALE`.
pub(crate) fn scale() -> u32 {
    let scale = std::env::var("GUARD_TIME_SCALE").ok().and_then(|text| text.parse().ok());
    scale.unwrap_or(1).max(1)
}

/// How late something may be here that may be late by `limit` on a real machine.
pub(crate) fn late_by(limit: Duration) -> Duration {
    let scale = scale();
    limit * scale + Duration::from_millis(1) * (scale - 1)
}

/// Runs `body` in a thread with a fresh network namespace whose loopback is up. Threads and
/// processes that it starts are in there too.
pub(crate) fn in_own_netns<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        loopback_up();
        body()
    });
    match thread.join() {
        Ok(value) => value,
        Err(panic) => resume_unwind(panic),
    }
}

/// `RTM_NEWLINK` with `IFF_UP` for device 1, which is always `lo`.
fn loopback_up() {
    const RTM_NEWLINK: u16 = 16;
    let mut ifinfomsg = [0; 16];
    ifinfomsg[4..8].copy_from_slice(&1_i32.to_ne_bytes());
    ifinfomsg[8..12].copy_from_slice(&1_u32.to_ne_bytes());
    ifinfomsg[12..16].copy_from_slice(&1_u32.to_ne_bytes());
    let mut connection =
        Connection::open(netlink_sys::protocols::NETLINK_ROUTE, "lo").expect("a netlink socket");
    let message = Builder::new(RTM_NEWLINK, REQUEST | ACK).raw(&ifinfomsg);
    connection.request(message, |_| Ok(())).expect("lo goes up");
}

/// Runs a command to its end and returns its standard output; panics if it fails.
pub(crate) fn run(command: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(command).args(arguments).output().expect(command);
    assert!(
        output.status.success(),
        "{command} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
