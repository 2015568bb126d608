//! When the phases of a drill began and the faults acted, in seconds since its start, read from
//! the record's timeline and samples. It never guesses: faults that did not begin have no window.

use super::words::{finite, planned};
use crate::control::api::FaultRequest;
use crate::drill::Record;
use crate::drill::record::{PlannedFault, Status};
use crate::drill::spec::Phase;

/// Pulses that a chart can show apart; more are one piece.
const MOST_PULSES: f64 = 500.0;

/// The phases of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Phases {
    during: Option<f64>,
    after: Option<f64>,
    /// The last look at the faults of a drill that was ended early: they were ended then.
    stopped: Option<f64>,
    total: f64,
}

/// A fault from its begin to its end, seconds since the start of the drill.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    /// `latency 300ms on research/github`.
    pub(super) fault: String,
    /// Begin.
    pub(super) start: f64,
    /// End: as planned, or when the faults were ended early.
    pub(super) end: f64,
}

impl Phases {
    /// Of a run.
    pub(super) fn of(record: &Record) -> Self {
        let first = |phase| {
            let moments = record.timeline.iter().filter(|it| it.phase == Some(phase));
            let samples = record.samples.iter().filter(|it| it.phase == phase);
            let seconds = moments.map(|it| it.seconds).chain(samples.map(|it| it.seconds));
            seconds.filter(|it| it.is_finite()).reduce(f64::min)
        };
        let is_early = matches!(record.status, Status::Aborted | Status::Interrupted);
        let looks = record.samples.iter().filter(|it| it.phase == Phase::During);
        let last = looks.map(|it| it.seconds).filter(|it| it.is_finite()).reduce(f64::max);
        Self {
            during: first(Phase::During),
            after: first(Phase::After),
            stopped: last.filter(|_| is_early),
            total: finite(record.seconds).max(0.0),
        }
    }

    /// Begin and end of a phase; both are the end of the drill if it did not come to it.
    pub(super) fn window(&self, phase: Phase) -> (f64, f64) {
        let after = self.after.unwrap_or(self.total);
        let during = self.during.unwrap_or(after);
        match phase {
            Phase::Before => (0.0, during),
            Phase::During => (during, after.max(during)),
            Phase::After => (after, self.total.max(after)),
        }
    }

    /// From the first to the last moment of each planned fault; it may rest in between.
    pub(super) fn faults(&self, record: &Record) -> Vec<Window> {
        record.plan.faults.iter().filter_map(|fault| self.fault(fault)).collect()
    }

    fn fault(&self, fault: &PlannedFault) -> Option<Window> {
        let begin = self.during?;
        let (_, end) = self.window(Phase::During);
        let stop = self.stopped.map_or(end, |stopped| stopped.min(end));
        let window = Window {
            fault: planned(fault),
            start: begin + finite(fault.start_seconds),
            end: (begin + finite(fault.end_seconds)).min(stop),
        };
        (window.start < window.end).then_some(window)
    }

    /// When any fault acted: pieces that do not overlap, in order.
    pub(super) fn acting(&self, record: &Record) -> Vec<(f64, f64)> {
        let mut windows = Vec::new();
        for (at, fault) in record.plan.faults.iter().enumerate() {
            let Some(Window { start, end, .. }) = self.fault(fault) else { continue };
            windows.extend(pulses(record.drill.faults.get(at), start, end));
        }
        windows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut pieces: Vec<(f64, f64)> = Vec::new();
        for (start, end) in windows {
            match pieces.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => pieces.push((start, end)),
            }
        }
        pieces
    }

    /// Begin of the first fault and end of the last.
    pub(super) fn all_faults(&self, record: &Record) -> Option<(f64, f64)> {
        let pieces = self.acting(record);
        Some((pieces.first()?.0, pieces.last()?.1))
    }
}

/// The pieces of a fault that comes and goes; the whole of one that does not.
fn pulses(fault: Option<&FaultRequest>, start: f64, end: f64) -> Vec<(f64, f64)> {
    let pulse = fault.and_then(|fault| fault.pulse_on_seconds.zip(fault.pulse_off_seconds));
    let Some((on, off)) = pulse.filter(|(on, off)| *on > 0.0 && *off > 0.0) else {
        return vec![(start, end)];
    };
    let count = ((end - start) / (on + off)).ceil();
    if count.is_nan() || count > MOST_PULSES {
        return vec![(start, end)];
    }
    let begins = (0..count as u32).map(|number| f64::from(number).mul_add(on + off, start));
    begins.map(|begin| (begin, (begin + on).min(end))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::records;
    use super::*;

    #[test]
    fn faults_act_from_the_begin_of_their_phase_until_their_end() {
        let mut record = records::held();
        let phases = Phases::of(&record);
        assert_eq!(phases.window(Phase::Before), (0.0, 5.2));
        assert_eq!(phases.window(Phase::During), (5.2, 35.2));
        record.plan.faults[1].start_seconds = 10.0;
        assert_eq!(phases.acting(&record), [(5.2, 35.2)]);
        record.plan.faults[0].end_seconds = 5.0;
        assert_eq!(phases.acting(&record), [(5.2, 10.2), (15.2, 35.2)]);
        assert_eq!(phases.all_faults(&record), Some((5.2, 35.2)));
    }

    #[test]
    fn a_fault_that_comes_and_goes_acts_in_pieces() {
        let mut record = records::held();
        record.plan.faults.truncate(1);
        record.drill.faults[0].pulse_on_seconds = Some(10.0);
        record.drill.faults[0].pulse_off_seconds = Some(4.0);
        let phases = Phases::of(&record);
        assert_eq!(phases.acting(&record), [(5.2, 15.2), (19.2, 29.2), (33.2, 35.2)]);
        record.drill.faults[0].pulse_on_seconds = Some(1e-9);
        record.drill.faults[0].pulse_off_seconds = Some(1e-9);
        assert_eq!(phases.acting(&record), [(5.2, 35.2)]);
    }

    #[test]
    fn faults_that_were_stopped_end_at_the_last_look_at_them() {
        let record = records::interrupted();
        assert_eq!(Phases::of(&record).acting(&record), [(5.2, 20.0)]);
        let record = records::empty();
        assert_eq!(Phases::of(&record).acting(&record), []);
        assert_eq!(Phases::of(&record).window(Phase::After), (0.0, 0.0));
    }
}
