//! `guardctl incidents` and `guardctl recover`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Guard, Target};
use crate::control::Peer;
use crate::control::api::{
    ErrorBody, IncidentRecord, Incidents, Policies, RecoverRequest, Recovered, RecoveredStep,
};
use crate::health::incident::{End, Entry, EntryKind};
use crate::plan::RulePlan;
use crate::recovery::{ActionResult, Situation};
use crate::telemetry::metrics::RecoverySample;

fn wrong(error: String, help: &str) -> ErrorBody {
    ErrorBody { error, help: help.to_owned(), exit_code: 2 }
}

impl Guard {
    /// Every incident that is known.
    pub(in crate::daemon) fn incidents_now(&self) -> Incidents {
        let state = self.lock();
        let record = |incident: &crate::health::incident::Incident| IncidentRecord {
            seconds: incident.seconds(),
            incident: incident.clone(),
        };
        Incidents {
            schema: "guard.incidents/1".into(),
            incidents: state.incidents.all().map(record).collect(),
            problem: state.incidents.problem(),
        }
    }

    /// `guardctl policy`.
    pub(in crate::daemon) fn policies_now(&self) -> Result<Policies, ErrorBody> {
        let policies = self.lock().plan.retry_policies.clone();
        let values: Result<Vec<_>, _> = policies.iter().map(serde_json::to_value).collect();
        let values = values.map_err(|error| ErrorBody {
            error: format!("a policy is no JSON: {error}"),
            help: "report this as a bug".into(),
            exit_code: 1,
        })?;
        Ok(Policies {
            schema: "guard.policies/1".into(),
            policies: values,
            environment: crate::plan::environment(&policies),
        })
    }

    /// What a scrape is told of healing.
    pub(in crate::daemon) fn recovery_sample(&self) -> RecoverySample {
        let actions = self.healing().counts.clone();
        let state = self.lock();
        let rules = state.plan.recovery.all_rules().into_iter().map(|rule| {
            let names = rule.steps.iter().map(|step| step.action.name()).collect();
            (rule.name, names)
        });
        let mut active = BTreeMap::new();
        for incident in state.incidents.active() {
            let of = &incident.situation;
            let text = |name: &Option<String>| name.clone().unwrap_or_default();
            *active.entry((text(&of.bulkhead), text(&of.service))).or_default() += 1;
        }
        RecoverySample { rules: rules.collect(), actions, active, totals: state.incidents.totals() }
    }

    /// Runs a rule's steps now, one after the other, until one has helped.
    pub(in crate::daemon) fn recover(
        self: &Arc<Self>,
        peer: &Peer,
        request: &RecoverRequest,
    ) -> Result<Recovered, ErrorBody> {
        let (rule, target) = self.chosen(request)?;
        let busy = self.healing().targets.get(&target).is_some_and(|live| live.ladder.is_acting());
        if busy {
            let error = format!("rule {} is acting on {} by itself", rule.name, target.bulkhead);
            return Err(ErrorBody {
                error,
                help: "guardctl incidents --active".into(),
                exit_code: 1,
            });
        }
        let mut answer = Recovered { schema: "guard.recovered/1".into(), ..Recovered::default() };
        let mut situation = Situation {
            rule: rule.name.clone(),
            bulkhead: Some(target.bulkhead.clone()),
            service: target.service.clone(),
            since: jiff::Timestamp::now().to_string(),
            reason: format!("asked for by uid {}", peer.uid),
            ..Situation::default()
        };
        if !request.dry_run {
            let mut state = self.lock();
            situation.incident = state.incidents.open(situation.clone());
            let entry = Entry::now(EntryKind::Detected, situation.reason.clone());
            state.incidents.add(situation.incident, entry);
            answer.incident = situation.incident;
        }
        let rule = RulePlan { dry_run: rule.dry_run || request.dry_run, ..rule };
        for (number, step) in (1..).zip(&rule.steps) {
            (situation.step, situation.action) = (number, step.action.name().to_owned());
            let outcome = self.heal(&rule, &target, step, &situation);
            self.tell_action(
                (answer.incident != 0).then_some(answer.incident),
                &situation,
                &outcome,
            );
            answer.steps.push(RecoveredStep {
                action: situation.action.clone(),
                result: outcome.result.name().to_owned(),
                message: outcome.message,
                seconds: outcome.took.as_secs_f64(),
            });
            if outcome.result == ActionResult::Done {
                answer.helped = self.helped(&rule, &target);
                if answer.helped == Some(true) {
                    break;
                }
            }
        }
        if answer.incident != 0 {
            let helped = (answer.helped == Some(true)).then_some(situation.action);
            let message = match answer.helped {
                Some(true) => "verified",
                Some(false) => "no step has helped",
                None => "done; no call has shown yet whether it helped",
            };
            self.lock().incidents.close(answer.incident, End::Asked, helped, message.to_owned());
        }
        Ok(answer)
    }

    /// The rule and whom it is for.
    fn chosen(&self, request: &RecoverRequest) -> Result<(RulePlan, Target), ErrorBody> {
        let state = self.lock();
        let rules = state.plan.recovery.all_rules();
        let known: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
        let rule = rules.iter().find(|rule| rule.name == request.rule).ok_or_else(|| {
            wrong(
                format!("no rule is named {:?}", request.rule),
                &format!("there are: {}", known.join(", ")),
            )
        })?;
        let bulkhead = rule.bulkhead.clone().or(request.bulkhead.clone()).ok_or_else(|| {
            wrong(format!("rule {} is about every bulkhead", rule.name), "say which: --bulkhead B")
        })?;
        if !state.bulkheads.contains_key(&bulkhead) {
            let names: Vec<&str> = state.bulkheads.keys().map(String::as_str).collect();
            let help = format!("there are: {}", names.join(", "));
            return Err(wrong(format!("no bulkhead is named {bulkhead:?}"), &help));
        }
        let service = rule.service.clone().or(request.service.clone());
        if service.is_none() && !rule.is_of_bulkhead() {
            return Err(wrong(
                format!("rule {} is about calls to every service", rule.name),
                "say to which: --service S",
            ));
        }
        if let Some(service) = &service
            && self.pair_of(&state, &bulkhead, service).is_none()
        {
            let names: Vec<&str> = state.plan.services.iter().map(|s| s.name.as_str()).collect();
            let help = format!("there are: {}", names.join(", "));
            return Err(wrong(format!("no service is named {service:?}"), &help));
        }
        let target = Target { rule: rule.name.clone(), bulkhead, service };
        Ok((rule.clone(), target))
    }

    /// Whether calls go well now; waits for some, as long as the rule's verification may take.
    fn helped(&self, rule: &RulePlan, target: &Target) -> Option<bool> {
        /// Calls that are no chance.
        const CALLS: u64 = 3;
        const LOOK: Duration = Duration::from_millis(100);
        let service = target.service.as_deref()?;
        let stats = || {
            let state = self.lock();
            let pair = self.pair_of(&state, &target.bulkhead, service)?;
            Some(state.kernel.counters().ok()?.get(&pair).copied().unwrap_or_default())
        };
        let mut window = crate::health::Window::default();
        let begin = std::time::Instant::now();
        window.push(&stats()?, begin, rule.verify.within);
        loop {
            std::thread::sleep(LOOK);
            window.push(&stats()?, std::time::Instant::now(), rule.verify.within);
            let rate = window.last(rule.verify.within).success_rate(CALLS);
            if let Some(rate) = rate {
                return Some(rate >= rule.verify.success_rate_above.unwrap_or(0.95));
            }
            if begin.elapsed() >= rule.verify.within {
                return None;
            }
        }
    }
}
