//! What a drill file says, checked. Nothing here knows of TOML or of a daemon.

use std::time::Duration;

use serde::Serialize;

use crate::control::api::FaultRequest;

/// An experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drill {
    /// Name, as of a bulkhead: letters, digits, `-`, `_`.
    pub name: String,
    /// Why it is run; may be empty.
    pub purpose: String,
    /// How long the steady state is watched before the faults. Zero = it is not.
    pub before: Duration,
    /// How long the time of the faults lasts; no fault ends later.
    pub duration: Duration,
    /// How long the steady state may take to come back after the faults. Zero = it is not watched.
    pub after: Duration,
    /// Seed of all random decisions; drawn, and reported, if absent.
    pub seed: Option<u64>,
    /// What is injected; never empty. One entry for each effect: a `[[fault]]` with latency and
    /// loss is two. Starts and ends count from the beginning of `duration`.
    pub faults: Vec<FaultRequest>,
    /// What must hold; never empty.
    pub steady_state: Vec<SteadyState>,
    /// What ends the drill early.
    pub abort: Vec<Abort>,
}

/// One `[[steady_state]]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SteadyState {
    /// For people; unique in the file. Made from the probe if the file gives none.
    pub name: String,
    /// When it is checked: at least one.
    pub when: Vec<Phase>,
    /// What is measured and what it must be.
    pub probe: Probe,
}

/// Part of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before the faults. What is missed here keeps them from being injected.
    Before,
    /// While they act.
    During,
    /// After them: met at the end of this phase.
    After,
}

/// A measurement with its tolerance.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Probe {
    /// Share of successful calls of a phase.
    SuccessRate {
        /// Whose calls.
        pairs: Pairs,
        /// 0 to 1.
        at_least: f64,
        /// Calls below which it says nothing.
        min_calls: u64,
    },
    /// A quantile of the time to the first byte of a phase's calls.
    Latency {
        /// Whose calls.
        pairs: Pairs,
        /// Above 0, below 1.
        quantile: f64,
        /// Longest good value.
        at_most: Duration,
        /// Calls below which it says nothing.
        min_calls: u64,
    },
    /// The state of a breaker: met if it was so at any look of the phase.
    Breaker {
        /// Bulkhead.
        bulkhead: String,
        /// Service.
        service: String,
        /// `closed`, `open` or `half_open`.
        state: String,
    },
    /// A GET request.
    Http {
        /// `http://…`.
        url: String,
        /// The status that it must have.
        status: u16,
        /// Longest time.
        timeout: Duration,
    },
    /// A number that Prometheus gives.
    Promql {
        /// What is asked.
        #[serde(flatten)]
        query: Query,
        /// Smallest good value; this or `at_most` is there.
        at_least: Option<f64>,
        /// Largest good value.
        at_most: Option<f64>,
    },
    /// A command, run as the operator, without a shell.
    Command {
        /// Absolute path and arguments.
        argv: Vec<String>,
        /// The exit code that it must have.
        exit_code: i32,
        /// Longest time.
        timeout: Duration,
    },
}

/// Calls of a bulkhead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pairs {
    /// Bulkhead.
    pub bulkhead: String,
    /// Service; `None` = all.
    pub service: Option<String>,
}

/// An instant query to a Prometheus server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Query {
    /// `http://host:port`, with or without a path; without the API's own.
    pub prometheus: String,
    /// The expression.
    pub promql: String,
    /// Longest time.
    pub timeout: Duration,
}

/// One `[[abort]]`: ends the faults when something is bad for too long.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Abort {
    /// What is bad.
    #[serde(flatten)]
    pub condition: Condition,
    /// How long it must last; also the window in which calls are counted. At least 1 s.
    pub window: Duration,
}

/// What an `[[abort]]` looks at.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Condition {
    /// Too few calls succeed.
    SuccessRate {
        /// Whose calls.
        pairs: Pairs,
        /// Share of successful calls, 0 to 1, below which it counts.
        success_rate_below: f64,
        /// Calls in the window below which it says nothing.
        min_calls: u64,
    },
    /// A number that Prometheus gives is out of bounds.
    Promql {
        /// What is asked.
        #[serde(flatten)]
        query: Query,
        /// It is bad below this; this or `above` is there.
        below: Option<f64>,
        /// It is bad above this.
        above: Option<f64>,
    },
}
