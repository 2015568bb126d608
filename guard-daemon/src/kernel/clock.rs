//! The kernel programs' clock.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

fn read_ns(clock: ClockId) -> u64 {
    // The three clocks exist on every kernel that guard runs on; zero makes deadlines lie in the
    // past, which is the safe side.
    clock_gettime(clock).map_or(0, |t| Duration::from(t).as_nanos() as u64)
}

/// CLOCK_BOOTTIME in ns: what `bpf_ktime_get_boot_ns` returns. It runs on while the host sleeps.
pub fn boottime_ns() -> u64 {
    read_ns(ClockId::CLOCK_BOOTTIME)
}

/// CLOCK_MONOTONIC in ns: it stands still while the host sleeps.
pub fn monotonic_ns() -> u64 {
    read_ns(ClockId::CLOCK_MONOTONIC)
}

/// The wall-clock time (ns since the epoch) of a boottime.
pub fn wall_of_boottime_ns(boot_ns: u64) -> i128 {
    let wall = i128::from(read_ns(ClockId::CLOCK_REALTIME));
    wall - (i128::from(boottime_ns()) - i128::from(boot_ns))
}
