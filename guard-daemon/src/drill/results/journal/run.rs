//! What was done, entry by entry: an activity with its time, its output, and whether it succeeded.
//! An entry that could not be told about has failed: a reader must not take it for good.

use serde::Serialize;

use super::super::phases::Phases;
use super::super::words::{self, finite, one_line};
use super::activity::{self, Activity, Tolerance};
use super::clock::Clock;
use super::experiment;
use crate::control::api::FaultRecord;
use crate::drill::Record;
use crate::drill::record::{Check, Cleanup, Proof, Status};
use crate::drill::spec::Phase;

#[derive(Serialize)]
pub(super) struct Run<'a> {
    activity: Activity,
    output: Output<'a>,
    start: String,
    end: String,
    duration: f64,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<[String; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance_met: Option<bool>,
}

/// Readers draw charts of an output with a key `data`: none has one here.
#[derive(Serialize)]
#[serde(untagged)]
enum Output<'a> {
    Check { measured: &'a str, limit: &'a str, met: Option<bool>, first_miss_seconds: Option<f64> },
    Fault { asked: &'a str, measured: &'a str, met: Option<bool>, fault: &'a FaultRecord },
    Cleanup(&'a Cleanup),
    None,
}

/// Makes the entries of a run.
pub(super) struct Runs<'a> {
    record: &'a Record,
    clock: Clock,
    phases: Phases,
}

impl<'a> Runs<'a> {
    pub(super) fn new(record: &'a Record, clock: Clock, phases: Phases) -> Self {
        Self { record, clock, phases }
    }

    /// The time of the run.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The probes of a phase.
    pub(super) fn checks(&self, phase: Phase) -> Vec<Run<'a>> {
        let checks = self.record.checks.iter().filter(|check| check.phase == phase);
        checks.map(|check| self.check(check)).collect()
    }

    fn check(&self, check: &'a Check) -> Run<'a> {
        let states = &self.record.drill.steady_state;
        let activity = match states.iter().find(|state| state.name == check.name) {
            Some(state) => activity::steady_state(state),
            None => activity::probe(
                &check.name,
                Tolerance::Text(one_line(&check.limit)),
                activity::guardctl(&["status", "--json"]),
            ),
        };
        let output = Output::Check {
            measured: &check.measured,
            limit: &check.limit,
            met: check.met,
            first_miss_seconds: check.first_miss_seconds.filter(|at| at.is_finite()),
        };
        // A missed tolerance is no failed probe; one that could not tell is.
        let failure = check.met.is_none().then(|| format!("cannot be told: {}", check.measured));
        let mut run = self.run(activity, output, self.phases.window(check.phase), failure);
        run.tolerance_met = Some(check.met == Some(true));
        run
    }

    /// What was injected, what could not be, and what ended it early.
    pub(super) fn method(&self) -> Vec<Run<'a>> {
        let method = experiment::method(self.record);
        let window = self.phases.window(Phase::During);
        let mut runs: Vec<Run> = Vec::new();
        for (at, proof) in self.record.proof.iter().enumerate() {
            runs.push(self.fault(method.get(at), proof));
        }
        // What is missed before the faults keeps all of them from being injected.
        let was_begun = self.record.checks.iter().all(|check| check.met != Some(false));
        let refused = method.get(self.record.proof.len());
        if let (Status::Failed, true, Some(refused)) = (self.record.status, was_begun, refused) {
            let why = Some(self.record.why.clone());
            runs.push(self.run(refused.clone(), Output::None, window, why));
        }
        if self.record.status == Status::Aborted {
            let end = (window.1, window.1);
            runs.push(self.run(self.abort(), Output::None, end, Some(self.record.why.clone())));
        }
        runs
    }

    fn fault(&self, planned: Option<&Activity>, proof: &'a Proof) -> Run<'a> {
        let fault = &proof.fault;
        let name = words::fault(&fault.effect, &fault.bulkhead, &fault.service);
        let activity = planned.cloned().unwrap_or_else(|| {
            activity::action(&name, activity::guardctl(&["fault", "list", "--json"]))
        });
        let failure = match proof.met {
            Some(true) => None,
            Some(false) => Some(format!("asked for {}, measured {}", proof.asked, proof.measured)),
            None => Some(format!("nothing matched, so it shows nothing: {}", proof.measured)),
        };
        let output =
            Output::Fault { asked: &proof.asked, measured: &proof.measured, met: proof.met, fault };
        let windows = self.phases.faults(self.record);
        let window = windows.iter().find(|window| window.fault == activity.name);
        let window = window
            .map_or_else(|| self.phases.window(Phase::During), |window| (window.start, window.end));
        self.run(activity, output, window, failure)
    }

    /// The record does not say which condition it was; with one there is no doubt.
    fn abort(&self) -> Activity {
        match self.record.drill.abort.as_slice() {
            [only] => activity::abort(only),
            _ => activity::probe(
                "abort condition",
                Tolerance::Text("not reached".into()),
                activity::guardctl(&["status", "--json"]),
            ),
        }
    }

    /// Nothing is undone that was not done.
    pub(super) fn rollbacks(&self) -> Vec<Run<'a>> {
        let cleanup = &self.record.cleanup;
        if self.record.proof.is_empty() && cleanup.complete.is_none() {
            return Vec::new();
        }
        let failure = match cleanup.complete {
            Some(true) => None,
            Some(false) => Some(format!(
                "left over: {}; remove it: {}",
                cleanup.left_over.join("; "),
                words::CLEANUP_CURE
            )),
            None => Some("guardd could not be asked what is left".to_owned()),
        };
        let (_, stop) = self.phases.window(Phase::During);
        let window = (stop, stop + finite(cleanup.seconds).max(0.0));
        vec![self.run(experiment::clear(), Output::Cleanup(cleanup), window, failure)]
    }

    fn run(
        &self,
        activity: Activity,
        output: Output<'a>,
        (start, end): (f64, f64),
        failure: Option<String>,
    ) -> Run<'a> {
        Run {
            activity,
            output,
            start: self.clock.at(start),
            end: self.clock.at(end),
            duration: end - start,
            status: if failure.is_some() { "failed" } else { "succeeded" },
            exception: failure.map(|why| [one_line(&why)]),
            tolerance_met: None,
        }
    }
}
