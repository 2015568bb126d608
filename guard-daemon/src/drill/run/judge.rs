//! Steady states and abort conditions against what was counted. Pure: looks in, answers out.

use std::time::Duration;

use super::super::record::Check;
use super::super::spec::{Abort, Condition, Drill, Phase, Probe, SteadyState};
use super::look::Look;
use super::probe::{Prober, Tries};

/// The looks of one phase. The first was taken when it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks<'a>(pub(super) &'a [Look]);

impl<'a> Looks<'a> {
    /// Only what happened in the last `window`: from the latest look that is at least so old.
    pub(super) fn last(self, window: Duration) -> Self {
        let Some(now) = self.0.last() else { return self };
        let from = self.0.iter().rposition(|look| now.at.saturating_sub(look.at) >= window);
        Self(&self.0[from.unwrap_or(0)..])
    }

    /// From the first to the last look.
    pub(super) fn span(self) -> Duration {
        match (self.0.first(), self.0.last()) {
            (Some(first), Some(last)) => last.at.saturating_sub(first.at),
            _ => Duration::ZERO,
        }
    }

    fn ends(self) -> Option<(&'a Look, &'a Look)> {
        Some((self.0.first()?, self.0.last()?))
    }
}

/// One steady state in one phase, by its looks or by what its probe gave.
pub(super) fn check(
    state: &SteadyState,
    phase: Phase,
    looks: Looks<'_>,
    tries: Option<&Tries>,
) -> Check {
    let (met, measured) = match tries {
        Some(tries) => of_tries(phase, tries),
        None => of_looks(&state.probe, phase, looks),
    };
    Check {
        name: state.name.clone(),
        phase,
        met,
        measured,
        limit: limit(&state.probe),
        first_miss_seconds: if met == Some(false) {
            first_miss(state, phase, looks, tries)
        } else {
            None
        },
    }
}

/// During the faults every try must be as asked; before and after them, the last one. A try that could
/// not be told shows nothing, unless another was missed.
fn of_tries(phase: Phase, tries: &Tries) -> (Option<bool>, String) {
    match (&tries.first_miss, &tries.last) {
        (Some((_, what)), _) if phase == Phase::During => {
            (Some(false), format!("{what} (one of {} tries)", tries.count))
        }
        (None, Some((Some(true), _)))
            if phase == Phase::During && tries.first_unknown.is_some() =>
        {
            let what = tries.first_unknown.clone().unwrap_or_default();
            (None, format!("{what} (at one of {} tries or more)", tries.count))
        }
        (_, Some((met, what))) => (*met, what.clone()),
        (_, None) => (None, "not tried".to_owned()),
    }
}

fn of_looks(probe: &Probe, phase: Phase, looks: Looks<'_>) -> (Option<bool>, String) {
    let Some((first, last)) = looks.ends() else { return (None, "not looked at".to_owned()) };
    match probe {
        Probe::SuccessRate { pairs, at_least, min_calls } => {
            let counts = last.since(first, pairs);
            match counts.success_rate() {
                Some(rate) if counts.calls() >= *min_calls => {
                    let measured = format!("{} of {} calls", percent(rate), counts.calls());
                    (Some(rate >= *at_least), measured)
                }
                _ => (None, too_few(counts.calls(), *min_calls)),
            }
        }
        Probe::Latency { pairs, quantile, at_most, min_calls } => {
            let counts = last.since(first, pairs);
            match counts.quantile(*quantile) {
                Some(took) if counts.calls() >= *min_calls => {
                    let calls = counts.calls();
                    let measured = format!("p{} {} of {calls} calls", quantile * 100.0, ms(took));
                    (Some(took <= *at_most), measured)
                }
                _ => (None, too_few(counts.calls(), *min_calls)),
            }
        }
        Probe::Breaker { bulkhead, service, state } => {
            let mut seen: Vec<&str> =
                looks.0.iter().filter_map(|look| look.breaker(bulkhead, service)).collect();
            if phase != Phase::During {
                seen = seen.split_off(seen.len().saturating_sub(1));
            }
            if seen.is_empty() {
                return (None, "there is no such breaker".to_owned());
            }
            let met = seen.iter().any(|seen| seen == state);
            seen.dedup();
            (Some(met), seen.join(", "))
        }
        Probe::Http { .. } | Probe::Promql { .. } | Probe::Command { .. } => {
            (None, "not tried".to_owned())
        }
    }
}

/// When it was first seen that it is missed, in seconds since the start of the drill.
fn first_miss(
    state: &SteadyState,
    phase: Phase,
    looks: Looks<'_>,
    tries: Option<&Tries>,
) -> Option<f64> {
    if let Some(tries) = tries {
        return tries.first_miss.as_ref().map(|(at, _)| at.as_secs_f64());
    }
    // That a state was never there is not seen before the end.
    if matches!(state.probe, Probe::Breaker { .. }) {
        return None;
    }
    let missed =
        |end: &usize| of_looks(&state.probe, phase, Looks(&looks.0[..=*end])).0 == Some(false);
    let end = (0..looks.0.len()).find(missed)?;
    looks.0.get(end).map(|look| look.at.as_secs_f64())
}

/// Whether an abort condition that looks at counters fires: what it says, for people.
pub(super) fn abort(abort: &Abort, looks: Looks<'_>) -> Option<String> {
    let Condition::SuccessRate { pairs, success_rate_below, min_calls } = &abort.condition else {
        return None;
    };
    let looks = looks.last(abort.window);
    if looks.span() < abort.window {
        return None;
    }
    let (first, last) = looks.ends()?;
    let counts = last.since(first, pairs);
    let rate = counts.success_rate().filter(|_| counts.calls() >= *min_calls)?;
    (rate < *success_rate_below).then(|| {
        format!(
            "{} success {} < {} for {:?} ({} calls)",
            pairs.text(),
            percent(rate),
            percent(*success_rate_below),
            abort.window,
            counts.calls()
        )
    })
}

/// The probes of a phase that run beside it, by the place of their steady state.
pub(super) fn start_probers(
    drill: &Drill,
    phase: Phase,
    began: std::time::Instant,
) -> Vec<(usize, Prober)> {
    let states = drill.steady_state.iter().enumerate();
    let of_phase = states.filter(|(_, state)| state.when.contains(&phase));
    of_phase.filter_map(|(at, state)| Some((at, Prober::start(&state.probe, began)?))).collect()
}

/// What a probe must give, for people.
pub(super) fn limit(probe: &Probe) -> String {
    match probe {
        Probe::SuccessRate { at_least, .. } => format!("at least {}", percent(*at_least)),
        Probe::Latency { quantile, at_most, .. } => {
            format!("p{} at most {}", quantile * 100.0, ms(*at_most))
        }
        Probe::Breaker { state, .. } => state.clone(),
        Probe::Http { status, .. } => format!("status {status}"),
        Probe::Promql { at_least, at_most, .. } => match (at_least, at_most) {
            (Some(low), Some(high)) => format!("{} to {}", value(*low), value(*high)),
            (Some(low), None) => format!("at least {}", value(*low)),
            (None, Some(high)) => format!("at most {}", value(*high)),
            (None, None) => "any number".to_owned(),
        },
        Probe::Command { exit_code, .. } => format!("exit {exit_code}"),
    }
}

fn too_few(calls: u64, needed: u64) -> String {
    format!("{calls} calls, {} are needed", needed.max(1))
}

/// A number of Prometheus, for people. Nothing is rounded: somebody's limit is near.
pub(super) fn value(value: f64) -> String {
    let is_plain = value == 0.0 || (1e-4..1e15).contains(&value.abs()) || !value.is_finite();
    if is_plain { format!("{value}") } else { format!("{value:e}") }
}

/// `99.6 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    // 99.96 must not become 100.0: somebody's limit is 100.
    let shown = if share < 1.0 { (percent * 10.0 + 1e-6).floor() / 10.0 } else { percent };
    format!("{shown:.1} %")
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests;
