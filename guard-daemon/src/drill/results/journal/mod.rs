//! `journal.json` in the format of Chaos Toolkit 1.45, so that its reports can be made from a drill
//! (`chaos report`), with one more key, `guard`, for what the format cannot say: above all the
//! verdict, which a journal's `status` is not.
//!
//! The experiment in it is a description. It must never be taken for one to run: `guardctl drill
//! run` gives the verdict, and the probes in here only name where numbers come from.

mod activity;
mod clock;
mod experiment;
mod run;

use serde::Serialize;

use super::phases::Phases;
use super::states::all_met;
use super::words::{self, finite, one_line};
use crate::drill::Record;
use crate::drill::record::{Cleanup, Collateral, Moment, Proof, Status, Verdict};
use crate::drill::spec::Phase;
use clock::Clock;
use experiment::Experiment;
use run::{Run, Runs};

/// Version of the format. Readers compare it as a semantic version: nothing else may be in it.
const CHAOSLIB_VERSION: &str = "1.45.0";

#[derive(Serialize)]
struct Journal<'a> {
    #[serde(rename = "chaoslib-version")]
    chaoslib_version: &'static str,
    platform: String,
    node: String,
    experiment: Experiment<'a>,
    start: String,
    end: String,
    duration: f64,
    status: &'static str,
    deviated: bool,
    steady_states: SteadyStates<'a>,
    run: Vec<Run<'a>>,
    rollbacks: Vec<Run<'a>>,
    guard: Guard<'a>,
}

#[derive(Serialize)]
struct SteadyStates<'a> {
    before: Option<SteadyState<'a>>,
    after: Option<SteadyState<'a>>,
    during: Vec<SteadyState<'a>>,
}

#[derive(Serialize)]
struct SteadyState<'a> {
    steady_state_met: Option<bool>,
    probes: Vec<Run<'a>>,
}

/// Ours. Readers of the format pass over it.
#[derive(Serialize)]
struct Guard<'a> {
    schema: &'a str,
    version: &'a str,
    verdict: Verdict,
    status: Status,
    exit_code: u8,
    why: &'a str,
    run_id: &'a str,
    fault_proof: &'a [Proof],
    collateral: &'a [Collateral],
    cleanup: &'a Cleanup,
    timeline: &'a [Moment],
}

/// The text of the file.
pub(super) fn text(record: &Record) -> Result<String, String> {
    let runs = Runs::new(record, Clock::of(record)?, Phases::of(record));
    let clock = runs.clock();
    let state = |phase| {
        let probes = runs.checks(phase);
        let met = record.checks.iter().filter(|check| check.phase == phase).map(|check| check.met);
        let steady_state_met = all_met(met);
        (!probes.is_empty()).then_some(SteadyState { steady_state_met, probes })
    };
    words::json(&Journal {
        chaoslib_version: CHAOSLIB_VERSION,
        platform: one_line(&format!("Linux {}, guard {}", record.kernel, record.guard_version)),
        node: one_line(&record.host),
        experiment: Experiment::of(record),
        start: clock.start(),
        end: clock.end(),
        duration: finite(record.seconds).max(0.0),
        status: status(record),
        deviated: deviated(record),
        steady_states: SteadyStates {
            before: state(Phase::Before),
            after: state(Phase::After),
            during: state(Phase::During).into_iter().collect(),
        },
        run: runs.method(),
        rollbacks: runs.rollbacks(),
        guard: Guard {
            schema: &record.schema,
            version: &record.guard_version,
            verdict: record.verdict,
            status: record.status,
            exit_code: record.exit_code,
            why: &record.why,
            run_id: &record.run_id,
            fault_proof: &record.proof,
            collateral: &record.collateral,
            cleanup: &record.cleanup,
            timeline: &record.timeline,
        },
    })
}

/// In the words of the format. `completed` does not mean that the hypothesis held; what is left on
/// the host is worse than how the drill ended, and of what shows nothing readers shall not think
/// that it went well.
fn status(record: &Record) -> &'static str {
    match (record.status, record.verdict, record.cleanup.complete) {
        (_, _, Some(false))
        | (Status::Aborted | Status::Failed, _, _)
        | (Status::Completed, Verdict::Inconclusive, _) => "failed",
        // guardd was gone: nobody meant this end.
        (Status::Interrupted, _, None) => "aborted",
        (Status::Interrupted, _, Some(true)) => "interrupted",
        (Status::Completed, Verdict::Held | Verdict::Deviated, _) => "completed",
    }
}

/// In the format only what was checked after the faults began can deviate.
fn deviated(record: &Record) -> bool {
    match record.status {
        Status::Aborted => true,
        Status::Failed => false,
        Status::Completed | Status::Interrupted => record.verdict == Verdict::Deviated,
    }
}
