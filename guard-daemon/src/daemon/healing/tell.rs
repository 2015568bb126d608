//! What healing says: to the incidents, the events, the log, and the counts behind the metrics. One
//! timeline for each incident, the same words in all of them.

use super::judge::Judged;
use super::{Guard, Target};
use crate::health::incident::{End, Entry, EntryKind};
use crate::recovery::{ActionResult, Outcome, Situation};

impl Guard {
    /// An incident begins; its number.
    pub(super) fn tell_begin(&self, situation: &Situation, judged: &Judged) -> u64 {
        let mut state = self.lock();
        let id = state.incidents.open(situation.clone());
        state.incidents.add(id, Entry::now(EntryKind::Detected, situation.reason.clone()));
        state.incidents.add(id, Entry::now(EntryKind::Diagnosed, diagnosis(judged)));
        drop(state);
        let what = format!("{}; {}", situation.reason, diagnosis(judged));
        self.tell_all("recovery_started", id, situation, &what);
        id
    }

    /// A step was done, or not.
    pub(super) fn tell_action(
        &self,
        incident: Option<u64>,
        situation: &Situation,
        outcome: &Outcome,
    ) {
        let key = (situation.rule.clone(), situation.action.clone(), outcome.result);
        *self.healing().counts.entry(key).or_default() += 1;
        let id = incident.unwrap_or(situation.incident);
        let entry = Entry {
            step: Some(situation.step),
            action: Some(situation.action.clone()),
            result: Some(outcome.result),
            took_seconds: Some(outcome.took.as_secs_f64()),
            ..Entry::now(EntryKind::Action, outcome.message.clone())
        };
        if id != 0 {
            self.lock().incidents.add(id, entry);
        }
        let (step, action, result) = (situation.step, &situation.action, outcome.result.name());
        let text = format!("step {step} {action}: {result}: {}", outcome.message);
        self.tell_all("recovery_step", id, situation, &text);
    }

    /// A step has not helped in its time.
    pub(super) fn tell_not_verified(&self, id: Option<u64>, next: usize, judged: &Judged) {
        let Some(id) = id else { return };
        let message = format!("step {next} has not helped: {}", judged.proof);
        self.lock().incidents.add(id, Entry::now(EntryKind::NotVerified, message));
    }

    /// Anything else worth knowing.
    pub(super) fn tell_note(&self, id: u64, message: String) {
        tracing::info!(incident = id, "{message}");
        self.lock().incidents.add(id, Entry::now(EntryKind::Note, message));
    }

    /// Nothing more is done.
    pub(super) fn tell_gave_up(&self, situation: &Situation) {
        self.tell_all("recovery_failed", situation.incident, situation, &situation.reason);
    }

    /// A person was called, or could not be.
    pub(super) fn tell_called(&self, situation: &Situation, outcome: &Outcome) {
        let key = (situation.rule.clone(), situation.action.clone(), outcome.result);
        *self.healing().counts.entry(key).or_default() += 1;
        let entry = Entry {
            action: Some(situation.action.clone()),
            result: Some(outcome.result),
            took_seconds: Some(outcome.took.as_secs_f64()),
            ..Entry::now(EntryKind::Called, outcome.message.clone())
        };
        if situation.incident != 0 {
            self.lock().incidents.add(situation.incident, entry);
        }
        let text = format!("{}: {}", outcome.result.name(), outcome.message);
        self.tell_all("notify", situation.incident, situation, &text);
        if !matches!(outcome.result, ActionResult::Done | ActionResult::WouldHave) {
            tracing::error!(incident = situation.incident, "nobody was reached: {text}");
        }
    }

    /// It is well.
    pub(super) fn tell_recovered(
        &self,
        id: Option<u64>,
        situation: &Situation,
        helped: Option<String>,
        judged: &Judged,
    ) {
        let Some(id) = id else { return };
        let by = helped.as_deref().map_or("by itself".to_owned(), |step| format!("after {step}"));
        let message = format!("well again, {by}: {}", judged.proof);
        let mut state = self.lock();
        state.incidents.add(id, Entry::now(EntryKind::Verified, judged.proof.clone()));
        state.incidents.close(id, End::Recovered, helped, message.clone());
        drop(state);
        self.tell_all("recovery_verified", id, situation, &message);
    }

    /// Its rule, bulkhead or service is gone.
    pub(super) fn tell_withdrawn(&self, target: &Target, id: u64) {
        let message = "no rule of this name is about it any more";
        self.lock().incidents.close(id, End::Withdrawn, None, message.to_owned());
        let situation = Situation {
            rule: target.rule.clone(),
            bulkhead: Some(target.bulkhead.clone()),
            service: target.service.clone(),
            ..Situation::default()
        };
        self.tell_all("incident_withdrawn", id, &situation, message);
    }

    fn tell_all(&self, kind: &str, id: u64, situation: &Situation, message: &str) {
        let bulkhead = situation.bulkhead.as_deref().unwrap_or_default();
        let service = situation.service.as_deref().unwrap_or_default();
        let rule = &situation.rule;
        tracing::warn!(incident = id, rule, bulkhead, service, kind, "{message}");
        self.events.note(kind, |event| {
            bulkhead.clone_into(&mut event.bulkhead);
            service.clone_into(&mut event.service);
            if situation.injected {
                "injected".clone_into(&mut event.origin);
            }
            event.message = format!("incident {id}, rule {rule}: {message}");
        });
    }
}

/// Which outcomes there were, and whether a drill is at work.
fn diagnosis(judged: &Judged) -> String {
    let outcomes: Vec<String> =
        judged.outcomes.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let outcomes =
        if outcomes.is_empty() { "no calls in the window".to_owned() } else { outcomes.join(", ") };
    if judged.injected { format!("{outcomes}; a fault of guard is at work") } else { outcomes }
}
