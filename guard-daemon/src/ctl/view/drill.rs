//! `guardctl drill`: what it is about, how it goes, what runs. The end of a run is told by
//! `drill::results`, because its report says the same.

use super::look::{Look, Tone};
use super::text::{clean, counted, cut, duration, percent};
use crate::control::api::{DrillPlan, Drills, FaultRecord, PlannedFault};
use crate::drill::Drill;
use crate::drill::record::Moment;
use crate::drill::run::Progress;
use crate::drill::spec::{Condition, Phase};

/// Cells of the bar.
const BAR_WIDTH: usize = 30;
/// Seconds between two lines where there is no terminal.
const LINE_EVERY_SECONDS: f64 = 5.0;
/// Process ids that are named.
const PIDS_SHOWN: usize = 8;

/// `drill run --dry-run`.
pub(in crate::ctl) fn drill_plan(drill: &Drill, plan: &DrillPlan, look: &Look) -> String {
    let mut page = head(drill, plan, look);
    page.push_str("nothing was changed (--dry-run)\n");
    page
}

/// Before the first phase.
pub(in crate::ctl) fn drill_begins(
    drill: &Drill,
    plan: &DrillPlan,
    run_id: &str,
    seed: u64,
    look: &Look,
) -> String {
    let mut page = head(drill, plan, look);
    page.push_str(&format!("run      {run_id}   seed {seed}\n"));
    page.push_str("stop     Ctrl-C ends the faults and still reports; from anywhere: guardctl halt REASON\n\n");
    page
}

fn head(drill: &Drill, plan: &DrillPlan, look: &Look) -> String {
    let purpose = match drill.purpose.as_str() {
        "" => String::new(),
        purpose => format!("  \"{}\"", clean(purpose)),
    };
    let mut page = format!(
        "drill    {}{purpose}   {} before, {} faults, {} after\n",
        look.paint(Tone::Title, &clean(&drill.name)),
        duration(drill.before.as_secs_f64()),
        duration(drill.duration.as_secs_f64()),
        duration(drill.after.as_secs_f64()),
    );
    let mut shown: Vec<(&str, &str)> = Vec::new();
    for fault in &plan.faults {
        let target = (fault.bulkhead.as_str(), fault.service.as_str());
        if !shown.contains(&target) {
            shown.push(target);
            page.push_str(&self::target(fault, look));
        }
    }
    for fault in &plan.faults {
        page.push_str(&format!(
            "fault    {} to {}   {} on {}/{}   engine {}\n",
            duration(fault.start_seconds),
            duration(fault.end_seconds),
            look.paint(Tone::Odd, &clean(&fault.effect)),
            clean(&fault.bulkhead),
            clean(&fault.service),
            clean(&fault.engine),
        ));
    }
    for state in &drill.steady_state {
        page.push_str(&format!("holds    {}\n", clean(&state.name)));
    }
    for abort in &drill.abort {
        let lasts = duration(abort.window.as_secs_f64());
        page.push_str(&format!("abort    {} for {lasts}\n", condition(&abort.condition)));
    }
    page.push_str(&format!("spared   {}\n", clean(&plan.protected.join(", "))));
    for warning in &plan.warnings {
        page.push_str(&format!("{}  {}\n", look.paint(Tone::Odd, "warning"), clean(warning)));
    }
    page
}

/// `writing success < 50 %`, `up < 1`.
fn condition(condition: &Condition) -> String {
    match condition {
        Condition::SuccessRate { pairs, success_rate_below, .. } => {
            let service = pairs.service.as_ref().map(|name| format!("/{name}"));
            let target = clean(&pairs.bulkhead) + &clean(&service.unwrap_or_default());
            format!("{target} success < {} %", percent(*success_rate_below))
        }
        Condition::Promql { query, below, above } => {
            let low = below.map(|low| format!("< {low}"));
            let high = above.map(|high| format!("> {high}"));
            let bounds: Vec<String> = low.into_iter().chain(high).collect();
            format!("{} {}", clean(&query.promql), bounds.join(" or "))
        }
    }
}

fn target(fault: &PlannedFault, look: &Look) -> String {
    let mut pids: Vec<String> = fault.pids.iter().take(PIDS_SHOWN).map(u32::to_string).collect();
    if fault.pids.len() > PIDS_SHOWN {
        pids.push("...".into());
    }
    let pids = if pids.is_empty() { String::new() } else { format!(": {}", pids.join(" ")) };
    let addresses = match (fault.service.as_str(), fault.addresses.is_empty()) {
        ("*", _) => "every service".to_owned(),
        (_, true) => "no address known".to_owned(),
        (_, false) => fault.addresses.join(" "),
    };
    let line = format!(
        "target   {} ({}{pids}) -> {} ({addresses})",
        fault.bulkhead,
        counted(fault.pids.len(), "process", "processes"),
        fault.service,
    );
    format!("{}\n", cut(&clean(&line), look.width.max(80)))
}

/// `drill list`.
pub(in crate::ctl) fn drills(answer: &Drills, look: &Look) -> String {
    let line = |drill: &crate::control::api::RunningDrill| {
        format!(
            "{}  run {}  for {}  by uid {}  {} {}\n",
            look.paint(Tone::Title, &clean(&drill.name)),
            clean(&drill.id),
            duration(drill.seconds),
            drill.uid,
            counted(drill.faults.len(), "fault", "faults"),
            clean(&drill.purpose),
        )
    };
    let running: String = if answer.drills.is_empty() {
        "no drill runs\n".to_owned()
    } else {
        answer.drills.iter().map(line).collect()
    };
    format!("{running}{}", super::schedule::table(&answer.schedules, look))
}

/// `drill abort`.
pub(in crate::ctl) fn drills_aborted(answer: &Drills, look: &Look) -> String {
    if answer.drills.is_empty() {
        return drills(answer, look);
    }
    format!("ended, and its faults with it:\n{}", drills(answer, look))
}

/// The lines of a drill that goes on: on a terminal one that is written over again and again.
#[derive(Debug)]
pub(in crate::ctl) struct DrillProgress {
    look: Look,
    run_id: String,
    last_seconds: f64,
}

impl DrillProgress {
    /// As standard error looks.
    pub(in crate::ctl) fn new(look: &Look, run_id: &str) -> Self {
        Self { look: *look, run_id: run_id.to_owned(), last_seconds: f64::NEG_INFINITY }
    }

    fn terminal(&self) -> bool {
        !self.look.ascii
    }

    /// Makes room for other lines.
    pub(in crate::ctl) fn clear(&self) -> String {
        if self.terminal() { "\r\u{1b}[K".to_owned() } else { String::new() }
    }

    /// Something happened.
    pub(in crate::ctl) fn moment(&self, moment: &Moment) -> String {
        let what = clean(&moment.what);
        if self.terminal() {
            return format!("{}  {:>7.1}s  {what}\n", self.clear(), moment.seconds);
        }
        let Moment { time, seconds, .. } = moment;
        format!("{time} drill={} t={seconds:.1} {what:?}\n", self.run_id)
    }

    /// A second has passed.
    pub(in crate::ctl) fn line(&mut self, progress: &Progress<'_>) -> String {
        let phase = match progress.phase {
            Phase::Before => "before",
            Phase::During => "during",
            Phase::After => "after",
        };
        let sum = |of: fn(&FaultRecord) -> u64| progress.faults.iter().map(of).sum::<u64>();
        let touched = [
            ("delayed", sum(|fault| fault.counters.delayed)),
            ("dropped", sum(|fault| fault.counters.dropped)),
            ("refused", sum(|fault| fault.counters.refused)),
            ("reset", sum(|fault| fault.counters.reset)),
        ];
        let pairs = &progress.sample.pairs;
        let (good, failed, rejected) =
            pairs.iter().fold((0, 0, 0), |(good, failed, rejected), p| {
                (good + p.good, failed + p.failed, rejected + p.rejected)
            });
        let open: Vec<String> = pairs
            .iter()
            .filter(|pair| !matches!(pair.breaker.as_str(), "" | "closed"))
            .map(|pair| format!("{}/{}={}", pair.bulkhead, pair.service, pair.breaker))
            .collect();
        if !self.terminal() {
            let seconds = progress.sample.seconds;
            if seconds - self.last_seconds < LINE_EVERY_SECONDS {
                return String::new();
            }
            self.last_seconds = seconds;
            let touched: Vec<String> = touched.map(|(what, n)| format!("{what}={n}")).into();
            return format!(
                "{} drill={} phase={phase} t={seconds:.1} good={good} failed={failed} \
                 rejected={rejected} {} open={}\n",
                jiff::Timestamp::now(),
                self.run_id,
                touched.join(" "),
                clean(&open.join(",")),
            );
        }
        let share = progress.phase_seconds / progress.phase_limit_seconds.max(f64::MIN_POSITIVE);
        let full = ((share * BAR_WIDTH as f64) as usize).min(BAR_WIDTH);
        let acted = touched.iter().filter(|(_, count)| *count > 0);
        let touched: Vec<_> = acted.map(|(what, count)| format!("  {what} {count}")).collect();
        let touched = touched.concat();
        let open = if open.is_empty() { String::new() } else { format!("  {}", open.join(" ")) };
        let line = format!(
            "  {phase:<7} [{}{}] {:.0}s/{:.0}s  good {good} failed {failed} rejected {rejected}{touched}{}",
            "#".repeat(full),
            "-".repeat(BAR_WIDTH - full),
            progress.phase_seconds,
            progress.phase_limit_seconds,
            clean(&open),
        );
        format!("{}{}", self.clear(), cut(&line, self.look.width.saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;
    use crate::drill::record::Sample;

    #[test]
    fn a_log_gets_a_line_every_five_seconds_and_a_terminal_a_bar() {
        let sample = |seconds| Sample { seconds, phase: Phase::During, pairs: Vec::new() };
        let progress = |sample: &Sample, to: &mut DrillProgress| {
            to.line(&Progress {
                phase: Phase::During,
                phase_seconds: sample.seconds,
                phase_limit_seconds: 10.0,
                sample,
                faults: &[],
            })
        };
        let mut log = DrillProgress::new(&plain(), "run-1");
        let line = progress(&sample(1.0), &mut log);
        assert!(line.contains(" drill=run-1 phase=during t=1.0 good=0 failed=0"), "{line}");
        assert_eq!(progress(&sample(3.0), &mut log), "");
        assert!(progress(&sample(6.0), &mut log).contains("t=6.0"));
        let look = Look { ascii: false, ..plain() };
        let bar = progress(&sample(5.0), &mut DrillProgress::new(&look, "run-1"));
        assert!(bar.contains(&format!("[{}{}] 5s/10s", "#".repeat(15), "-".repeat(15))), "{bar}");
    }
}
