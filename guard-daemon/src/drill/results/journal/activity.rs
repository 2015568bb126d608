//! Probes and actions in the words of the journal's format: what was looked at, what was done, and
//! which command or request does the same.

use serde::Serialize;

use super::super::words::{self, one_line};
use crate::control::api::FaultRequest;
use crate::drill::run::promql_url;
use crate::drill::spec::{Abort, Condition, Pairs, Probe, Query, SteadyState};

/// One probe or action.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Activity {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tolerance: Option<Tolerance>,
    pub(super) provider: Provider,
    /// Faults act beside each other.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) background: bool,
}

/// Who does it.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Provider {
    Process {
        path: String,
        arguments: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout: Option<f64>,
    },
    Http {
        url: String,
        method: &'static str,
        timeout: f64,
    },
}

/// What a probe must give.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Tolerance {
    /// A status: of a request, of a process.
    Status(i64),
    /// A number between two others.
    Range {
        #[serde(rename = "type")]
        kind: &'static str,
        range: [f64; 2],
        target: &'static str,
    },
    /// A text.
    Regex {
        #[serde(rename = "type")]
        kind: &'static str,
        pattern: String,
        target: &'static str,
    },
    /// In words.
    Text(String),
}

/// A command of guardctl.
pub(super) fn guardctl(arguments: &[&str]) -> Provider {
    let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
    Provider::Process { path: "guardctl".into(), arguments, timeout: None }
}

/// A probe.
pub(super) fn probe(name: &str, tolerance: Tolerance, provider: Provider) -> Activity {
    let name = named(name, "steady state");
    Activity { kind: "probe", name, tolerance: Some(tolerance), provider, background: false }
}

/// An action.
pub(super) fn action(name: &str, provider: Provider) -> Activity {
    let name = named(name, "fault");
    Activity { kind: "action", name, tolerance: None, provider, background: false }
}

/// The format has no activity without a name.
fn named(name: &str, otherwise: &str) -> String {
    let name = one_line(name);
    if name.is_empty() { otherwise.to_owned() } else { name }
}

/// The probe of a steady state.
pub(super) fn steady_state(state: &SteadyState) -> Activity {
    let status = || guardctl(&["status", "--json"]);
    let (tolerance, provider) = match &state.probe {
        Probe::SuccessRate { at_least, .. } => (percent([*at_least, 1.0]), status()),
        Probe::Latency { at_most, .. } => (range([0.0, at_most.as_secs_f64()]), status()),
        Probe::Breaker { state, .. } => (
            Tolerance::Regex {
                kind: "regex",
                pattern: format!("^{}$", one_line(state)),
                target: "stdout",
            },
            guardctl(&["breaker", "list", "--json"]),
        ),
        Probe::Http { url, status, timeout } => (
            Tolerance::Status((*status).into()),
            Provider::Http { url: url.clone(), method: "GET", timeout: timeout.as_secs_f64() },
        ),
        Probe::Promql { query, at_least, at_most } => (between(*at_least, *at_most), asks(query)),
        Probe::Command { argv, exit_code, timeout } => (
            Tolerance::Status((*exit_code).into()),
            Provider::Process {
                path: argv.first().cloned().unwrap_or_default(),
                arguments: argv.iter().skip(1).cloned().collect(),
                timeout: Some(timeout.as_secs_f64()),
            },
        ),
    };
    probe(&state.name, tolerance, provider)
}

/// The probe of an abort condition.
pub(super) fn abort(abort: &Abort) -> Activity {
    let seconds = abort.window.as_secs_f64();
    match &abort.condition {
        Condition::SuccessRate {
            pairs: Pairs { bulkhead, service }, success_rate_below, ..
        } => {
            let target = words::target(bulkhead, service.as_deref().unwrap_or("*"));
            let name = format!(
                "abort when less than {} % of {target} succeed for {seconds} s",
                success_rate_below * 100.0,
            );
            probe(&name, percent([*success_rate_below, 1.0]), guardctl(&["status", "--json"]))
        }
        Condition::Promql { query, below, above } => {
            let name = format!("abort when {} is out of bounds for {seconds} s", query.promql);
            probe(&name, between(*below, *above), asks(query))
        }
    }
}

/// The request of a query.
fn asks(query: &Query) -> Provider {
    let timeout = query.timeout.as_secs_f64();
    Provider::Http { url: promql_url(query), method: "GET", timeout }
}

/// A number between two others; JSON has no infinity for where there is no bound.
fn between(low: Option<f64>, high: Option<f64>) -> Tolerance {
    let range = [low.unwrap_or(f64::MIN), high.unwrap_or(f64::MAX)].map(words::finite);
    Tolerance::Range { kind: "range", range, target: "body" }
}

fn percent(shares: [f64; 2]) -> Tolerance {
    range(shares.map(|share| share * 100.0))
}

fn range(range: [f64; 2]) -> Tolerance {
    Tolerance::Range { kind: "range", range: range.map(words::finite), target: "stdout" }
}

/// The action that injects a fault, with the command that does so.
pub(super) fn inject(effect: &str, fault: &FaultRequest) -> Activity {
    let service = fault.service.as_deref().unwrap_or("*");
    let provider =
        Provider::Process { path: "guardctl".into(), arguments: arguments(fault), timeout: None };
    let name = words::fault(effect, &fault.bulkhead, service);
    Activity { background: true, ..action(&name, provider) }
}

fn arguments(fault: &FaultRequest) -> Vec<String> {
    let mut words = vec!["fault".to_owned(), "inject".to_owned()];
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([name.to_owned(), value]);
        }
    };
    let seconds = |value: f64| format!("{value}s");
    let percent = |value: f64| format!("{value}%");
    let later = (fault.start_after_seconds > 0.0).then_some(fault.start_after_seconds);
    option("--bulkhead", Some(fault.bulkhead.clone()));
    option("--service", fault.service.clone());
    option("--for", Some(seconds(fault.duration_seconds)));
    option("--after", later.map(seconds));
    option("--latency", fault.latency_seconds.map(seconds));
    option("--jitter", fault.jitter_seconds.map(seconds));
    option("--distribution", fault.distribution.clone());
    option("--loss", fault.loss_percent.map(percent));
    option("--burst", fault.loss_burst.map(|burst| burst.to_string()));
    option("--refuse", fault.refuse_percent.map(percent));
    option("--errno", fault.errno.clone());
    option("--per", fault.latency_per.clone());
    option("--reset", fault.reset_percent.map(percent));
    option("--bandwidth", fault.bandwidth_bits_per_second.map(|rate| format!("{rate}bit")));
    option("--dns", fault.dns.clone());
    option("--direction", fault.direction.clone());
    option("--connections", fault.connections.clone());
    option("--share-of", fault.share_of.clone());
    option("--share", fault.share_percent.map(percent));
    if let (Some(on), Some(off)) = (fault.pulse_on_seconds, fault.pulse_off_seconds) {
        option("--pulse", Some(format!("{}/{}", seconds(on), seconds(off))));
    }
    option("--seed", fault.seed.map(|seed| seed.to_string()));
    if fault.unsafe_all {
        words.push("--unsafe-all".to_owned());
    }
    words
}

/// What a fault does, from what was asked for: guardd's own words are not there before it answers.
pub(super) fn effect(fault: &FaultRequest) -> String {
    if let Some(latency) = fault.latency_seconds {
        format!("latency {latency}s")
    } else if let Some(loss) = fault.loss_percent {
        format!("loss {loss}%")
    } else if let Some(reset) = fault.reset_percent {
        format!("reset {reset}%")
    } else if let Some(rate) = fault.bandwidth_bits_per_second {
        format!("bandwidth {rate} bit/s")
    } else if let Some(how) = &fault.dns {
        format!("dns {how}")
    } else {
        format!("refuse {}%", fault.refuse_percent.unwrap_or(100.0))
    }
}
