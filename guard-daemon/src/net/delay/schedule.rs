//! When each held packet goes: pure arithmetic over instants, no I/O.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use guard_common::abi::fault::JitterTable;
use guard_common::logic::{jitter, random};

use super::queue::Packet;
use super::times::Times;
use super::{DelayProfile, HeldTimes};

/// Packets that are held, in the order in which they came and will go.
pub(super) struct Schedule {
    profile: DelayProfile,
    /// `None` = no jitter.
    jitter: Option<Box<JitterTable>>,
    draws: u64,
    /// When each goes, its id, and when it came.
    held: VecDeque<(Instant, u32, Instant)>,
    times: Times,
    last_release: Option<Instant>,
    /// When the thin link is free again.
    free: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(profile: DelayProfile) -> Self {
        let jitter = (!profile.jitter.is_zero()).then(|| Box::new(profile.distribution.table()));
        Self {
            profile,
            jitter,
            draws: 0,
            held: VecDeque::new(),
            times: Times::default(),
            last_release: None,
            free: None,
        }
    }

    /// Takes a packet in. It never overtakes the one before it, whatever the jitter says.
    pub(super) fn hold(&mut self, packet: Packet) {
        let wished = self.through_the_link(packet) + self.draw();
        let release = self.last_release.map_or(wished, |last| last.max(wished));
        self.last_release = Some(release);
        self.held.push_back((release, packet.id, packet.arrived));
    }

    /// When a packet has gone through the thin link, if there is one. Unlike in the kernel nothing is
    /// dropped if that takes long: senders wait for room in their socket buffers.
    fn through_the_link(&mut self, packet: Packet) -> Instant {
        let Some(rate) = self.profile.bytes_per_second else { return packet.arrived };
        let takes = u64::from(packet.bytes).saturating_mul(1_000_000_000) / rate.get();
        let begins = self.free.map_or(packet.arrived, |free| free.max(packet.arrived));
        let ends = begins + Duration::from_nanos(takes);
        self.free = Some(ends);
        ends
    }

    /// When the next packet is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.held.front().map(|(release, ..)| *release)
    }

    /// Removes what is due, `most` at once; returns how many, and the last id.
    pub(super) fn take_due(&mut self, now: Instant, most: usize) -> Option<(u64, u32)> {
        let due = self.held.partition_point(|(release, ..)| *release <= now).min(most);
        for (_, _, arrived) in self.held.iter().take(due) {
            self.times.record(now.saturating_duration_since(*arrived));
        }
        self.take(due)
    }

    /// Removes the first `most`, due or not; returns how many, and the last id.
    pub(super) fn take(&mut self, most: usize) -> Option<(u64, u32)> {
        let count = self.held.len().min(most);
        let last = self.held.drain(..count).next_back()?;
        if self.held.is_empty() {
            // Later ones may go before the time of one that has gone early.
            self.last_release = None;
        }
        Some((count as u64, last.1))
    }

    /// For how long those were held whose time was up.
    pub(super) fn times(&self) -> HeldTimes {
        self.times.quantiles()
    }

    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// As the kernel draws it for departure times.
    fn draw(&mut self) -> Duration {
        let Some(table) = &self.jitter else { return self.profile.delay };
        let draw = random::draw(self.profile.seed, self.draws) as u32;
        self.draws += 1;
        let (delay, jitter) = (self.profile.delay.as_nanos(), self.profile.jitter.as_nanos());
        Duration::from_nanos(jitter::delay_ns(table, delay as u64, jitter as u64, draw))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use proptest::prelude::*;

    use super::*;
    use crate::net::delay::Distribution;

    fn profile(delay_us: u64, jitter_us: u64, seed: u64) -> DelayProfile {
        DelayProfile {
            delay: Duration::from_micros(delay_us),
            jitter: Duration::from_micros(jitter_us),
            distribution: Distribution::Uniform,
            seed,
            bytes_per_second: None,
        }
    }

    proptest! {
        #[test]
        fn order_and_bounds_hold(
            delay_us in 0..10_000_u64, jitter_us in 0..10_000_u64, seed: u64,
            gaps_us in proptest::collection::vec(0..500_u64, 1..200),
        ) {
            let mut schedule = Schedule::new(profile(delay_us, jitter_us, seed));
            let mut arrived = Instant::now();
            let mut newest_allowed = arrived;
            for (id, gap) in gaps_us.iter().enumerate() {
                arrived += Duration::from_micros(*gap);
                newest_allowed = arrived + Duration::from_micros(delay_us + jitter_us);
                schedule.hold(Packet { id: id as u32, arrived, bytes: 0, flow: None });
            }
            let releases: Vec<_> = schedule.held.iter().copied().collect();
            prop_assert!(releases.windows(2).all(|w| w[0].0 <= w[1].0 && w[0].1 < w[1].1));
            prop_assert!(releases.last().expect("one").0 <= newest_allowed);
            let (count, last) = schedule.take_due(newest_allowed, usize::MAX).expect("all are due");
            prop_assert_eq!(count as usize, gaps_us.len());
            prop_assert_eq!(last as usize, gaps_us.len() - 1);
            prop_assert_eq!(schedule.len(), 0);
        }
    }

    #[test]
    fn jitter_is_uniform_and_replayable() {
        let draws = |seed| {
            let mut schedule = Schedule::new(profile(10_000, 4_000, seed));
            (0..20_000).map(|_| schedule.draw().as_secs_f64()).collect::<Vec<_>>()
        };
        let first = draws(7);
        assert_eq!(first, draws(7), "a seed replays");
        assert_ne!(first, draws(8));
        let mean = first.iter().sum::<f64>() / first.len() as f64;
        assert!((mean - 0.010).abs() < 0.000_1, "mean {mean}");
        // Each fifth of the range takes a fifth of the draws (5 standard deviations: 283).
        for fifth in 0..5 {
            let from = 0.006 + 0.001_6 * f64::from(fifth);
            let inside = first.iter().filter(|d| **d >= from && **d < from + 0.001_6).count();
            assert!((3717..=4283).contains(&inside), "{inside} of 20000 from {from}");
        }
    }

    #[test]
    fn nothing_is_due_early() {
        let mut schedule = Schedule::new(profile(1_000, 0, 0));
        let arrived = Instant::now();
        schedule.hold(Packet { id: 5, arrived, bytes: 0, flow: None });
        assert_eq!(schedule.take_due(arrived + Duration::from_micros(999), 9), None);
        assert_eq!(schedule.take_due(arrived + Duration::from_millis(1), 9), Some((1, 5)));
    }

    #[test]
    fn no_more_than_a_batch_goes_at_once() {
        let mut schedule = Schedule::new(profile(1_000, 0, 0));
        let arrived = Instant::now();
        (0..5).for_each(|id| schedule.hold(Packet { id, arrived, bytes: 0, flow: None }));
        let later = arrived + Duration::from_secs(1);
        assert_eq!(schedule.take_due(later, 2), Some((2, 1)));
        assert_eq!(schedule.take(2), Some((2, 3)), "due or not");
        assert_eq!(schedule.take_due(later, 2), Some((1, 4)));
        assert_eq!(schedule.take(2), None);
    }

    #[test]
    fn a_thin_link_takes_one_packet_after_the_other() {
        let bytes_per_second = NonZeroU64::new(1000);
        let mut schedule = Schedule::new(DelayProfile { bytes_per_second, ..profile(0, 0, 0) });
        let arrived = Instant::now();
        for id in 0..3 {
            schedule.hold(Packet { id, arrived, bytes: 100, flow: None });
        }
        let later = arrived + Duration::from_secs(1);
        schedule.hold(Packet { id: 3, arrived: later, bytes: 100, flow: None });
        let waits: Vec<_> =
            schedule.held.iter().map(|(release, ..)| (*release - arrived).as_millis()).collect();
        assert_eq!(waits, [100, 200, 300, 1100]);
    }
}
