//! Steps that are tried again: a step that names a retry policy is repeated by it while it fails, within
//! the step's time. Each try but the last is told in the incident's timeline.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Guard, Target};
use crate::plan::{
    Action, NETWORK_ERROR, RATE_LIMIT, RetryPolicyPlan, RulePlan, StepPlan, VALIDATION_ERROR,
};
use crate::recovery::{ActionResult, Outcome, Situation, again};

impl Guard {
    /// Does a step, again and again if it says so.
    pub(super) fn act_and_again(
        self: &Arc<Self>,
        rule: &RulePlan,
        target: &Target,
        step: &StepPlan,
        situation: &Situation,
    ) -> Outcome {
        let named = step.retry.as_deref().filter(|_| !matches!(step.action, Action::Http(_)));
        let Some(policy) = named.and_then(|name| self.policy(name)) else {
            return self.act_once(rule, target, step, situation);
        };
        let (begin, mut tried) = (Instant::now(), 0);
        loop {
            let left = step.timeout.saturating_sub(begin.elapsed());
            // One that hangs leaves time for another.
            let timeout = if tried < policy.max_retries { left / 2 } else { left };
            let once = StepPlan { timeout, ..step.clone() };
            let outcome = self.act_once(rule, target, &once, situation);
            tried += 1;
            let took = begin.elapsed();
            if !matches!(outcome.result, ActionResult::Failed | ActionResult::TimedOut) {
                let times = if tried > 1 { format!("; at try {tried}") } else { String::new() };
                return Outcome { message: outcome.message + &times, took, ..outcome };
            }
            let left = step.timeout.saturating_sub(took);
            match again(Some(&policy), tried, situation.incident, None, left) {
                Ok(pause) => {
                    let failed = format!("{}: {}", outcome.result.name(), outcome.message);
                    self.tell_try(situation, tried, &failed, pause);
                    thread::sleep(pause);
                }
                Err(why) => {
                    let message = format!("{}; {why}", outcome.message);
                    return Outcome { message, took, ..outcome };
                }
            }
        }
    }

    /// A try has failed, and another follows.
    pub(super) fn tell_try(
        &self,
        situation: &Situation,
        tried: u32,
        failed: &str,
        pause: Duration,
    ) {
        let Situation { step, action, .. } = situation;
        let pause = pause.as_secs_f64();
        let message =
            format!("step {step} {action}, try {tried}: {failed}; tried again in {pause:.1} s");
        self.tell_note(situation.incident, message);
    }

    fn policy(&self, name: &str) -> Option<RetryPolicyPlan> {
        let state = self.lock();
        let found = state.plan.retry_policies.iter().find(|policy| policy.name == name);
        if found.is_none() {
            tracing::warn!(name, "this retry policy is gone: the step is tried once");
        }
        found.cloned()
    }

    /// The policies of a webhook: by type of error, or for every type the one that its step names.
    pub(super) fn policies_of_webhook(&self, step: &StepPlan) -> Vec<RetryPolicyPlan> {
        match step.retry.as_deref().and_then(|name| self.policy(name)) {
            None => self.lock().plan.retry_policies.clone(),
            Some(policy) => [NETWORK_ERROR, RATE_LIMIT, VALIDATION_ERROR]
                .map(|name| RetryPolicyPlan { name: name.to_owned(), ..policy.clone() })
                .into(),
        }
    }
}
