//! Calls a person, by every way that is configured. The log and the events tell it in any case.

use std::path::Path;
use std::time::Instant;

use super::{HookOptions, Tell, post, run_exec};
use crate::plan::{NotifyPlan, RetryPolicyPlan};
use crate::recovery::{ActionResult, Outcome, Situation};

/// Done if any way worked; skipped if there is none.
pub fn notify(
    plan: &NotifyPlan,
    cgroup: Option<&Path>,
    policies: &[RetryPolicyPlan],
    situation: &Situation,
    tell: &Tell<'_>,
) -> Outcome {
    let begin = Instant::now();
    let options = HookOptions { timeout: plan.timeout, user: None, cgroup };
    let mut ways = Vec::new();
    if !plan.exec.is_empty() {
        ways.push(("exec", run_exec(&plan.exec, &options, situation)));
    }
    if let Some(url) = &plan.http {
        ways.push(("http", post(url, &options, policies, situation, tell)));
    }
    let worked = ways.iter().any(|(_, outcome)| outcome.result == ActionResult::Done);
    let told: Vec<String> =
        ways.iter().map(|(way, outcome)| format!("{way}: {}", outcome.message)).collect();
    let (result, message) = match (ways.is_empty(), worked) {
        (true, _) => {
            (ActionResult::Skipped, "nobody is configured in [notify]: log and event only".into())
        }
        (false, true) => (ActionResult::Done, told.join("; ")),
        (false, false) => (ActionResult::Failed, told.join("; ")),
    };
    Outcome { result, message, took: begin.elapsed() }
}
