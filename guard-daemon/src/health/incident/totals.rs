//! What incidents come to, by bulkhead and service: the source of MTBF, MTTR and availability.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Sums of one (bulkhead, service) since guard has known it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Total {
    /// Incidents that have ended well; what an operator had asked for, or took back, is none, and those of
    /// faults that guard injected are counted by themselves.
    pub incidents: u64,
    /// Time in them.
    pub incident_seconds: f64,
    /// Time so far in those that go on.
    #[serde(skip)]
    pub open_seconds: f64,
    /// Incidents of injected faults that have ended well.
    #[serde(default)]
    pub injected_incidents: u64,
    /// Time in them, with those that go on: neither well nor ill.
    #[serde(default)]
    pub injected_seconds: f64,
    /// Time for which guardd has watched it, with and without incidents.
    pub observed_seconds: f64,
}

impl Total {
    /// Time in incidents, with those that go on.
    pub fn sick_seconds(&self) -> f64 {
        self.incident_seconds + self.open_seconds
    }

    /// Mean time between failures: time without an incident for each incident; `None` without one.
    pub fn mtbf_seconds(&self) -> Option<f64> {
        let well = (self.real_seconds() - self.sick_seconds()).max(0.0);
        (self.incidents > 0).then(|| well / self.incidents as f64)
    }

    /// Mean time to recovery: time in incidents that have ended, for each of them; `None` without one.
    pub fn mttr_seconds(&self) -> Option<f64> {
        (self.incidents > 0).then(|| self.incident_seconds / self.incidents as f64)
    }

    /// Share of the watched time without an incident; `None` before any.
    pub fn availability(&self) -> Option<f64> {
        let watched = self.real_seconds();
        (watched > 0.0).then(|| (1.0 - self.sick_seconds() / watched).clamp(0.0, 1.0))
    }

    /// Watched time that says something of the service.
    fn real_seconds(&self) -> f64 {
        self.observed_seconds - self.injected_seconds
    }
}

/// Sums by bulkhead and service; the service is empty for what is about a bulkhead as a whole.
pub type Totals = BTreeMap<(String, String), Total>;
