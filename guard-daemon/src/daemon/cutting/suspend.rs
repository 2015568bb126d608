//! Whether the host was suspended: CLOCK_BOOTTIME goes on then, CLOCK_MONOTONIC does not. It reads
//! no clock itself.

use std::time::Duration;

/// Shorter sleeps are left alone: connections survive them as they survive a slow network.
const WORTH_A_SWEEP: Duration = Duration::from_secs(5);

/// The clocks at the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Suspends {
    last: Option<(u64, u64)>,
}

/// A suspend that has just ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slept {
    /// How long it was.
    pub(super) time: Duration,
    /// Time awake since the look before it: whatever happened in it may have been after the suspend.
    pub(super) ago: Duration,
}

impl Suspends {
    /// The suspend since the last look, if there was one; times in ns.
    pub(super) fn look(&mut self, boottime_ns: u64, monotonic_ns: u64) -> Option<Slept> {
        let (boottime_before, monotonic_before) = self.last.replace((boottime_ns, monotonic_ns))?;
        let awake_ns = monotonic_ns.saturating_sub(monotonic_before);
        let passed_ns = boottime_ns.saturating_sub(boottime_before);
        let time = Duration::from_nanos(passed_ns.saturating_sub(awake_ns));
        (time >= WORTH_A_SWEEP).then_some(Slept { time, ago: Duration::from_nanos(awake_ns) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_jump_of_boottime_is_a_suspend() {
        let mut suspends = Suspends::default();
        // The host had slept before guardd was started: that is none of its business.
        assert_eq!(suspends.look(900 * SECOND, 100 * SECOND), None);
        assert_eq!(suspends.look(901 * SECOND, 101 * SECOND), None);
        let slept = Slept { time: Duration::from_mins(1), ago: Duration::from_millis(250) };
        let now = (961 * SECOND + SECOND / 4, 101 * SECOND + SECOND / 4);
        assert_eq!(suspends.look(now.0, now.1), Some(slept));
        assert_eq!(suspends.look(now.0 + SECOND, now.1 + SECOND), None, "told once");
    }

    #[test]
    fn a_busy_host_is_no_suspend() {
        let mut suspends = Suspends::default();
        suspends.look(SECOND, SECOND);
        assert_eq!(suspends.look(100 * SECOND, 100 * SECOND), None);
        assert_eq!(suspends.look(104 * SECOND, 100 * SECOND), None, "too short");
    }
}
