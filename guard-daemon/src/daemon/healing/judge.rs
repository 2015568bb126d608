//! What is known of one target: whether the detectors of a rule fire, and whether it is well again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use guard_common::abi::breaker::{STATE_CLOSED, STATE_OPEN};
use guard_common::abi::ids::PairKey;
use guard_common::logic::breaker::word;

use super::seen::Seen;
use super::{Healing, Target, UNKNOWN};
use crate::health::Span;
use crate::plan::{DEFAULT_RULE, Detector, OTHER, RulePlan};
use crate::recovery::Look;

/// Calls that tell of recovery are those of the last while…
const VERIFY_SPAN: Duration = Duration::from_secs(5);
/// …so many of them at least…
const VERIFY_CALLS: u64 = 3;
/// …of which so many are good, where the rule does not say.
const VERIFY_RATE: f64 = 0.95;

/// What is known of a target.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) look: Look,
    /// What fired, or what is well: one line.
    pub(super) reason: String,
    /// What shows that it is well, or not yet: one line.
    pub(super) proof: String,
    pub(super) outcomes: BTreeMap<String, u64>,
    pub(super) injected: bool,
    pub(super) pairs: Vec<PairKey>,
}

impl Healing {
    /// Whom a rule is about at this look.
    pub(super) fn targets_of(rule: &RulePlan, seen: &Seen) -> Vec<Target> {
        let fits = |of: &Option<String>, name: &str| of.as_ref().is_none_or(|of| of == name);
        let target = |bulkhead: &str, service: Option<&str>| Target {
            rule: rule.name.clone(),
            bulkhead: bulkhead.to_owned(),
            service: service.map(str::to_owned),
        };
        if rule.is_of_bulkhead() {
            let names = seen.bulkheads.keys().filter(|name| fits(&rule.bulkhead, name));
            return names.map(|name| target(name, None)).collect();
        }
        let pairs = seen.names.values().filter(|(bulkhead, service)| {
            fits(&rule.bulkhead, bulkhead)
                && fits(&rule.service, service)
                && seen.bulkheads.contains_key(bulkhead)
                && (seen.services.contains(service) || rule.service.as_deref() == Some(OTHER))
        });
        let is_built_in = rule.name == DEFAULT_RULE && rule.service.is_none();
        let others = |bulkhead: &str, service: &str| {
            seen.rules.iter().any(|other| {
                other.name != rule.name
                    && !other.is_of_bulkhead()
                    && other.detectors.iter().any(|d| matches!(d, Detector::SuccessRateBelow(_)))
                    && fits(&other.bulkhead, bulkhead)
                    && fits(&other.service, service)
            })
        };
        pairs
            .filter(|(bulkhead, service)| !(is_built_in && others(bulkhead, service)))
            .map(|(bulkhead, service)| target(bulkhead, Some(service)))
            .collect()
    }

    /// What is known of a target.
    pub(super) fn judge(
        &mut self,
        rule: &RulePlan,
        target: &Target,
        seen: &Seen,
        now: Instant,
    ) -> Judged {
        let pair = target.service.as_ref().and_then(|service| {
            let wanted = (&target.bulkhead, service);
            seen.names.iter().find(|(_, (b, s))| (b, s) == wanted).map(|(pair, _)| *pair)
        });
        let span = pair.and_then(|pair| self.windows.get(&pair)).map(|w| w.last(rule.window));
        let span = span.unwrap_or_default();
        let facts: Vec<(Option<bool>, String)> = rule
            .detectors
            .iter()
            .map(|detector| self.fact(*detector, rule, target, pair, &span, seen, now))
            .collect();
        let sick = combine(facts.iter().map(|(fires, _)| *fires), rule.all);
        let fired = facts.iter().filter(|(fires, _)| *fires == Some(true));
        let mut reason: Vec<&str> = fired.map(|(_, words)| words.as_str()).collect();
        if reason.is_empty() {
            reason = facts.iter().map(|(_, words)| words.as_str()).collect();
        }
        let (verified, proof) = self.verified(rule, target, pair, sick, seen, now);
        let look = Look { sick, verified };
        Judged {
            proof,
            look,
            reason: reason.join("; "),
            outcomes: span.outcomes(),
            injected: span.injected > 0,
            pairs: pair.into_iter().collect(),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "all that a detector may ask for")]
    fn fact(
        &mut self,
        detector: Detector,
        rule: &RulePlan,
        target: &Target,
        pair: Option<PairKey>,
        span: &Span,
        seen: &Seen,
        now: Instant,
    ) -> (Option<bool>, String) {
        let bulkhead = seen.bulkheads.get(&target.bulkhead).copied().unwrap_or_default();
        match detector {
            Detector::SuccessRateBelow(limit) => {
                let rate = span.success_rate(rule.min_calls);
                let (good, bad) = span.good_and_bad();
                let window = rule.window.as_secs_f64();
                let words = format!("{good} of {} calls good in {window} s", good + bad);
                (rate.map(|rate| rate < limit), words)
            }
            Detector::LatencyAbove(quantile, limit) => {
                let latency = span.latency(quantile, rule.min_calls);
                let words = latency.map_or("too few answers".into(), |latency| {
                    format!("p{} up to {latency:?}", quantile * 100.0)
                });
                (latency.map(|latency| latency > limit), words)
            }
            Detector::BreakerOpenFor(limit) => {
                let since = pair.and_then(|pair| self.open_since.get(&pair));
                let open = since.map(|since| now.duration_since(*since));
                let words = open.map_or("breaker closed".into(), |open| {
                    format!("breaker not closed for {:.1} s", open.as_secs_f64())
                });
                (Some(open.is_some_and(|open| open >= limit)), words)
            }
            Detector::StalledFor(limit) => {
                let key = target.service.clone().map(|s| (target.bulkhead.clone(), s));
                let longest = key.and_then(|key| seen.waits.get(&key)).copied();
                let words = longest
                    .map_or("no call hangs".into(), |s| format!("a call hangs for {s:.1} s"));
                (Some(longest.is_some_and(|s| s >= limit.as_secs_f64())), words)
            }
            Detector::MemoryPressureAbove(limit) => {
                let share = bulkhead.memory_pressure;
                let words = share.map_or("no memory pressure is told here".into(), |share| {
                    format!("memory pressure {share:.0} %")
                });
                (share.map(|share| share > limit), words)
            }
            Detector::OutOfMemory => {
                let Some(kills) = bulkhead.oom_kills else {
                    return (None, "OOM kills are not told here".into());
                };
                let before = self.killed.insert(target.bulkhead.clone(), kills).unwrap_or(kills);
                let words = format!("{} killed for want of memory", kills.saturating_sub(before));
                (Some(kills > before), words)
            }
            Detector::AgentExited => {
                let why = self.exited.get(&target.bulkhead);
                (Some(why.is_some()), why.cloned().unwrap_or_else(|| "its agent runs".into()))
            }
        }
    }

    /// Whether the target is well again, by what happened since the last step; and what shows it.
    fn verified(
        &self,
        rule: &RulePlan,
        target: &Target,
        pair: Option<PairKey>,
        sick: Option<bool>,
        seen: &Seen,
        now: Instant,
    ) -> (Option<bool>, String) {
        let silent = || "the detectors are silent".to_owned();
        let live = self.look_of(target).filter(|live| live.ladder.is_open());
        let Some(live) = live else { return (UNKNOWN.verified, String::new()) };
        let Some(pair) = pair else { return (sick.map(|sick| !sick), silent()) };
        let breaker = seen.breakers.get(&pair).map(|view| word::state(view.slot.word));
        if breaker.is_some_and(|state| state == STATE_OPEN) {
            return (Some(false), "the breaker is open".to_owned());
        }
        let of_calls = rule.detectors.iter().any(|detector| {
            matches!(detector, Detector::SuccessRateBelow(_) | Detector::BreakerOpenFor(_))
        }) || rule.verify.success_rate_above.is_some();
        if !of_calls {
            return (sick.map(|sick| !sick), silent());
        }
        let since = live.acted.map_or(VERIFY_SPAN, |at| now.duration_since(at).min(VERIFY_SPAN));
        let span = self.windows.get(&pair).map(|window| window.last(since)).unwrap_or_default();
        let (good, bad) = span.good_and_bad();
        let words = format!("{good} of {} calls good in {:.1} s", good + bad, since.as_secs_f64());
        let wanted = rule.verify.success_rate_above.unwrap_or(VERIFY_RATE);
        let closed = breaker.is_none_or(|state| state == STATE_CLOSED);
        (span.success_rate(VERIFY_CALLS).map(|rate| rate >= wanted && closed), words)
    }
}

/// All or any of them; unknown where that decides it.
fn combine(facts: impl Iterator<Item = Option<bool>>, all: bool) -> Option<bool> {
    let facts: Vec<Option<bool>> = facts.collect();
    let decides = Some(!all);
    if facts.contains(&decides) {
        return decides;
    }
    if facts.contains(&None) { None } else { Some(all) }
}

#[cfg(test)]
mod tests {
    use super::combine;

    #[test]
    fn what_is_unknown_decides_nothing() {
        let of = |facts: &[Option<bool>], all| combine(facts.iter().copied(), all);
        assert_eq!(of(&[Some(true), None], true), None);
        assert_eq!(of(&[Some(false), None], true), Some(false));
        assert_eq!(of(&[Some(true), None], false), Some(true));
        assert_eq!(of(&[Some(false), None], false), None);
        assert_eq!(of(&[Some(true), Some(true)], true), Some(true));
        assert_eq!(of(&[Some(false), Some(false)], false), Some(false));
    }
}
