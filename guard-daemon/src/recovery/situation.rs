//! What an action is told of its incident.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is wrong, for whom, and which step is being tried: the environment of hooks, the body of
/// webhooks and the text of notifications are made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Situation {
    /// Number of the incident; 0 = a trial (`guardctl recover`) without one.
    pub incident: u64,
    /// The rule.
    pub rule: String,
    /// Whose calls, or which agent; `None` = the whole host.
    pub bulkhead: Option<String>,
    /// Calls to what; `None` = it is not about one service.
    pub service: Option<String>,
    /// Since when it is wrong, as far as guard can tell: RFC 3339.
    pub since: String,
    /// What the detector saw; one line.
    pub reason: String,
    /// Outcomes in the detector's window, by name.
    pub outcomes: BTreeMap<String, u64>,
    /// Whether a fault of a drill is the cause.
    pub injected: bool,
    /// Number of the step, from 1; 0 before the first.
    pub step: usize,
    /// Its action, as in the configuration; empty before the first.
    pub action: String,
}

impl Situation {
    /// The same as variables of a hook's environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |of: &Option<String>| of.clone().unwrap_or_default();
        let outcomes: Vec<String> =
            self.outcomes.iter().map(|(name, count)| format!("{name}={count}")).collect();
        // A NUL would keep the hook from starting.
        let clean = |text: String| text.replace('\0', " ");
        vec![
            ("GUARD_INCIDENT", self.incident.to_string()),
            ("GUARD_RULE", self.rule.clone()),
            ("GUARD_BULKHEAD", text(&self.bulkhead)),
            ("GUARD_SERVICE", text(&self.service)),
            ("GUARD_SINCE", self.since.clone()),
            ("GUARD_REASON", clean(self.reason.clone())),
            ("GUARD_OUTCOMES", outcomes.join(" ")),
            ("GUARD_INJECTED", self.injected.to_string()),
            ("GUARD_STEP", self.step.to_string()),
            ("GUARD_ACTION", self.action.clone()),
        ]
    }
}
