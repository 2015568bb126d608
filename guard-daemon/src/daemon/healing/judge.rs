//! What is known of one target: whether the detectors of a rule fire, and whether it is well again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use guard_common::abi::breaker::{STATE_CLOSED, STATE_OPEN};
use guard_common::abi::ids::PairKey;
use guard_common::logic::breaker::word;

use super::seen::Seen;
use super::{Healing, Kills, Target, UNKNOWN};
use crate::health::{Refusals, Span, Window};
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
        let target = |bulkhead: &str, service: Option<&str>| Target {
            rule: rule.name.clone(),
            bulkhead: bulkhead.to_owned(),
            service: service.map(str::to_owned),
        };
        let all: Vec<Target> = if rule.is_of_bulkhead() {
            seen.bulkheads.keys().map(|name| target(name, None)).collect()
        } else {
            seen.names.values().map(|(bulkhead, service)| target(bulkhead, Some(service))).collect()
        };
        all.into_iter().filter(|target| is_about(rule, target, seen)).collect()
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
        let fires: Vec<Option<bool>> = facts.iter().map(|(fires, _)| *fires).collect();
        let sick = combine(fires.iter().copied(), rule.all);
        let fired = facts.iter().filter(|(fires, _)| *fires == Some(true));
        let mut reason: Vec<&str> = fired.map(|(_, words)| words.as_str()).collect();
        if reason.is_empty() {
            reason = facts.iter().map(|(_, words)| words.as_str()).collect();
        }
        let (verified, proof) = self.verified(rule, target, pair, &fires, seen, now);
        let look = Look { sick, verified };
        Judged {
            proof,
            look,
            reason: reason.join("; "),
            outcomes: span.outcomes(),
            injected: span.is_injected().unwrap_or_else(|| seen.is_faulted(target)),
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
                let first = Kills { count: kills, last: now, pending: false };
                let known = self.killed.entry(target.clone()).or_insert(first);
                if kills > known.count {
                    (known.last, known.pending) = (now, true);
                }
                known.count = kills;
                // Through a cooldown too: a kill in it is not lost.
                let recent = now.duration_since(known.last) <= rule.window.max(rule.cooldown);
                let words = if known.pending && recent {
                    "a process was killed for want of memory"
                } else {
                    "no process was killed for want of memory"
                };
                (Some(known.pending && recent), words.to_owned())
            }
            Detector::LimitRefusalsAbove(limit) => {
                // A step has taken the reason of those before it.
                let acted = self.look_of(target).and_then(|live| live.acted);
                let since = acted.map_or(rule.window, |at| now.duration_since(at).min(rule.window));
                let refused = self.refusals_of(target).map(|r| r.last(since)).unwrap_or_default();
                let (count, seconds) = (refused.words(), since.as_secs_f64());
                let words = format!("calls refused by limits in {seconds:.0} s: {count}");
                (Some(refused.all() > limit), words)
            }
            Detector::AgentExited => {
                let why = self.exited.get(&target.bulkhead);
                (Some(why.is_some()), why.cloned().unwrap_or_else(|| "its agent runs".into()))
            }
        }
    }

    fn refusals_of(&self, target: &Target) -> Option<&Refusals> {
        self.refusals.get(&(target.bulkhead.clone(), target.service.clone()))
    }

    /// Whether the target is well again, by what happened since the last step; and what shows it.
    /// `fires`: what each detector of the rule says.
    fn verified(
        &self,
        rule: &RulePlan,
        target: &Target,
        pair: Option<PairKey>,
        fires: &[Option<bool>],
        seen: &Seen,
        now: Instant,
    ) -> (Option<bool>, String) {
        let live = self.look_of(target).filter(|live| live.ladder.is_open());
        let Some(live) = live else { return (UNKNOWN.verified, String::new()) };
        let breaker = pair.and_then(|pair| seen.breakers.get(&pair));
        let breaker = breaker.map(|view| word::state(view.slot.word));
        if breaker.is_some_and(|state| state == STATE_OPEN) {
            return (Some(false), "the breaker is open".to_owned());
        }
        let since = live.acted.map_or(VERIFY_SPAN, |at| now.duration_since(at).min(VERIFY_SPAN));
        let window = pair.and_then(|pair| self.windows.get(&pair));
        let span = window.map(|window| window.last(since)).unwrap_or_default();
        let of_calls = pair.is_some() && judged_by_calls(rule);
        let mut proofs: Vec<(Option<bool>, String)> = Vec::new();
        if of_calls {
            let closed = breaker.is_none_or(|state| state == STATE_CLOSED);
            let in_row = window.map_or(0, Window::good_in_row);
            let (well, words) = calls_well(rule, &span, since, in_row);
            proofs.push((well.map(|well| well && closed), words));
        }
        for (detector, fires) in rule.detectors.iter().zip(fires) {
            match *detector {
                Detector::LatencyAbove(quantile, limit) => {
                    let latency = span.latency(quantile, VERIFY_CALLS);
                    let words = latency.map_or("too few answers".into(), |latency| {
                        format!("p{} up to {latency:?} since", quantile * 100.0)
                    });
                    proofs.push((latency.map(|latency| latency <= limit), words));
                }
                // Not killed at this moment says nothing.
                Detector::OutOfMemory => {
                    let last = self.killed.get(target).map(|kills| kills.last).max(live.acted);
                    let quiet = last.map(|last| now.duration_since(last));
                    let words = quiet.map_or("no kill was seen".to_owned(), |quiet| {
                        format!("no kill for {:.1} s", quiet.as_secs_f64())
                    });
                    proofs.push((quiet.map(|quiet| quiet >= rule.verify.within), words));
                }
                // The window still holds those of before.
                Detector::LimitRefusalsAbove(_) => {
                    let newest = self.refusals_of(target).and_then(Refusals::newest);
                    let quiet = newest.max(live.acted).map(|last| now.duration_since(last));
                    let words = quiet.map_or("no call was refused".to_owned(), |quiet| {
                        format!("no call refused by limits for {:.1} s", quiet.as_secs_f64())
                    });
                    let wanted = rule.verify.within.min(VERIFY_SPAN);
                    proofs.push((quiet.map(|quiet| quiet >= wanted), words));
                }
                Detector::SuccessRateBelow(_) | Detector::BreakerOpenFor(_) => {}
                Detector::StalledFor(_)
                | Detector::MemoryPressureAbove(_)
                | Detector::AgentExited => {
                    // Any of them alone is a sickness.
                    if !rule.all {
                        proofs.push((fires.map(|fires| !fires), "a detector is silent".to_owned()));
                    }
                }
            }
        }
        if proofs.is_empty() {
            let sick = combine(fires.iter().copied(), rule.all);
            return (sick.map(|sick| !sick), "the detectors are silent".to_owned());
        }
        // What is not well says more than what is.
        let against: Vec<&str> = words_of(&proofs, |well| well != Some(true));
        let words = if against.is_empty() { words_of(&proofs, |_| true) } else { against };
        (combine(proofs.iter().map(|(well, _)| *well), true), words.join("; "))
    }
}

/// Whether a rule is about a target, with or without calls so far.
pub(super) fn is_about(rule: &RulePlan, target: &Target, seen: &Seen) -> bool {
    let names = |rule: &RulePlan, target: &Target| {
        rule.bulkhead.as_ref().is_none_or(|of| *of == target.bulkhead)
            && rule.service.as_ref().is_none_or(|of| target.service.as_ref() == Some(of))
    };
    if rule.name != target.rule
        || !names(rule, target)
        || !seen.bulkheads.contains_key(&target.bulkhead)
        || rule.is_of_bulkhead() != target.service.is_none()
    {
        return false;
    }
    let Some(service) = &target.service else { return true };
    // What no service of the file is for, only where a rule asks for it.
    let known = seen.services.contains(service) || rule.service.as_deref() == Some(OTHER);
    let is_built_in = rule.name == DEFAULT_RULE && rule.service.is_none();
    let others = || {
        seen.rules.iter().any(|other| {
            other.name != rule.name
                && !other.is_of_bulkhead()
                && other.detectors.iter().any(|d| matches!(d, Detector::SuccessRateBelow(_)))
                && names(other, target)
        })
    };
    known && !(is_built_in && others())
}

fn words_of(proofs: &[(Option<bool>, String)], wanted: fn(Option<bool>) -> bool) -> Vec<&str> {
    let wanted = proofs.iter().filter(|(well, _)| wanted(*well));
    wanted.map(|(_, words)| words.as_str()).collect()
}

/// Whether good calls are what shows that a rule has helped.
fn judged_by_calls(rule: &RulePlan) -> bool {
    rule.verify.success_rate_above.is_some()
        || rule.detectors.iter().any(|detector| {
            matches!(detector, Detector::SuccessRateBelow(_) | Detector::BreakerOpenFor(_))
        })
}

/// Whether calls go well: by their share in the last while, or, where they are rare, by those in a row.
fn calls_well(rule: &RulePlan, span: &Span, since: Duration, row: u64) -> (Option<bool>, String) {
    let (good, bad) = span.good_and_bad();
    let wanted = rule.verify.success_rate_above.unwrap_or(VERIFY_RATE);
    match span.success_rate(VERIFY_CALLS) {
        None if row >= VERIFY_CALLS => (Some(true), format!("{row} good calls in a row")),
        rate => {
            let words =
                format!("{good} of {} calls good in {:.1} s", good + bad, since.as_secs_f64());
            (rate.map(|rate| rate >= wanted), words)
        }
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
    use super::*;
    use crate::daemon::healing::seen::BulkheadSeen;
    use crate::plan::RecoveryPlan;

    /// A look at bulkhead `b`, services `api` and `other`, with the built-in rule and these.
    fn seen(rules: Vec<RulePlan>) -> Seen {
        let plan = RecoveryPlan { rules, default_rule: true, ..RecoveryPlan::default() };
        let pair = |service| PairKey { bulkhead: 1, service };
        let name = |service: &str| ("b".to_owned(), service.to_owned());
        Seen {
            rules: plan.all_rules(),
            bulkheads: BTreeMap::from([("b".to_owned(), BulkheadSeen::default())]),
            services: ["api".to_owned()].into(),
            names: BTreeMap::from([(pair(0), name(OTHER)), (pair(1), name("api"))]),
            ..Seen::default()
        }
    }

    fn rule(name: &str, service: Option<&str>, detector: Detector) -> RulePlan {
        let built_in = RecoveryPlan { default_rule: true, ..RecoveryPlan::default() }.all_rules();
        RulePlan {
            name: name.to_owned(),
            service: service.map(str::to_owned),
            detectors: vec![detector],
            ..built_in[0].clone()
        }
    }

    fn targets(seen: &Seen) -> Vec<(String, Option<String>)> {
        let all = seen.rules.iter().flat_map(|rule| Healing::targets_of(rule, seen));
        all.map(|target| (target.rule, target.service)).collect()
    }

    #[test]
    fn a_pair_has_the_rules_that_name_it_or_the_built_in_one() {
        let own = |name: &str, service: &str| (name.to_owned(), Some(service.to_owned()));
        assert_eq!(targets(&seen(Vec::new())), [own(DEFAULT_RULE, "api")]);
        let other = rule("o", Some(OTHER), Detector::SuccessRateBelow(0.5));
        assert_eq!(targets(&seen(vec![other])), [own("o", OTHER), own(DEFAULT_RULE, "api")]);
        let api = rule("a", Some("api"), Detector::SuccessRateBelow(0.5));
        assert_eq!(targets(&seen(vec![api])), [own("a", "api")]);
        let killed = rule("k", None, Detector::OutOfMemory);
        assert_eq!(targets(&seen(vec![killed])), [("k".into(), None), own(DEFAULT_RULE, "api")]);
    }

    #[test]
    fn an_incident_lasts_as_long_as_its_rule_is_about_its_target() {
        let mut healing = Healing::default();
        let other = seen(vec![rule("o", Some(OTHER), Detector::SuccessRateBelow(0.5))]);
        for (id, target) in
            (1..).zip(other.rules.iter().flat_map(|r| Healing::targets_of(r, &other)))
        {
            healing.take_up(target, id);
        }
        assert!(healing.withdraw(&other).is_empty(), "nothing has changed");
        // Now a rule of the file heals what the built-in one did, and the other rule is gone.
        let changed = seen(vec![rule("a", Some("api"), Detector::SuccessRateBelow(0.5))]);
        let gone: Vec<u64> =
            healing.withdraw(&changed).into_iter().filter_map(|(_, live)| live.incident).collect();
        assert_eq!(gone.len(), 2);
        assert!(healing.withdraw(&changed).is_empty(), "once");
    }

    #[test]
    fn a_kill_is_pending_until_a_recovery_has_ended() {
        let mut healing = Healing::default();
        let killed = rule("k", None, Detector::OutOfMemory);
        let twin = RulePlan { name: "twin".into(), ..killed.clone() };
        let mut seen = seen(vec![killed.clone(), twin.clone()]);
        let start = Instant::now();
        let target = |rule: &RulePlan| Healing::targets_of(rule, &seen_of(&[rule])).remove(0);
        let mut look = |healing: &mut Healing, rule: &RulePlan, kills, seconds| {
            let bulkhead = BulkheadSeen { oom_kills: Some(kills), ..BulkheadSeen::default() };
            seen.bulkheads.insert("b".into(), bulkhead);
            let now = start + Duration::from_secs(seconds);
            healing.judge(rule, &target(rule), &seen, now).look.sick
        };
        assert_eq!(look(&mut healing, &killed, 3, 0), Some(false), "before guardd");
        assert_eq!(look(&mut healing, &twin, 3, 0), Some(false));
        assert_eq!(look(&mut healing, &killed, 4, 1), Some(true));
        assert_eq!(look(&mut healing, &twin, 4, 1), Some(true), "each rule sees it");
        assert_eq!(look(&mut healing, &killed, 4, 5), Some(true), "not for one look only");
        healing.forget(&target(&killed), &[]);
        assert_eq!(look(&mut healing, &killed, 4, 6), Some(false));
        assert_eq!(look(&mut healing, &twin, 4, 6), Some(true), "of the other rule");
        assert_eq!(look(&mut healing, &twin, 4, 60), Some(false), "long ago");
    }

    fn seen_of(rules: &[&RulePlan]) -> Seen {
        seen(rules.iter().map(|rule| (*rule).clone()).collect())
    }

    #[test]
    fn rare_calls_show_that_they_go_well_too() {
        let rule = rule("r", None, Detector::SuccessRateBelow(0.8));
        let since = Duration::from_secs(5);
        assert_eq!(calls_well(&rule, &Span::default(), since, 2).0, None);
        assert_eq!(calls_well(&rule, &Span::default(), since, 3).0, Some(true));
    }

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
