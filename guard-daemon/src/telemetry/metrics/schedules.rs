//! Drills by a calendar: when the next one is, and how runs ended. All verdicts are there from the
//! start, so that a rate has a beginning.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Sample, family};

/// One schedule.
#[derive(Clone, Debug)]
pub struct ScheduleSample {
    /// Name.
    pub schedule: String,
    /// The next planned time; `None` if there is none or it is not enabled.
    pub next_unix_seconds: Option<f64>,
    /// Runs of this guardd, by verdict.
    pub runs: [(&'static str, u64); 4],
}

impl Sample {
    pub(super) fn encode_schedules(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let next = self.schedules.iter().filter_map(|sample| {
            Some(([("schedule", sample.schedule.clone())], sample.next_unix_seconds?))
        });
        family("guard_drill_schedule_next_seconds", "Next planned time of a drill, Unix time")
            .gauges(encoder, next)?;
        let runs = self.schedules.iter().flat_map(|sample| {
            sample.runs.iter().map(|(verdict, count)| {
                let schedule = sample.schedule.clone();
                ([("schedule", schedule), ("verdict", (*verdict).to_owned())], *count as f64)
            })
        });
        family("guard_drill_runs", "Drills that guardd ran by a schedule, by verdict")
            .counters(encoder, runs)
    }
}
