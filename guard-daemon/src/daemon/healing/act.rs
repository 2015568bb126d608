//! Does one action. It blocks no longer than the action's timeout (and a moment), holds no lock while it
//! does, and says what it did.

use std::sync::Arc;
use std::time::{Duration, Instant};

use guard_common::abi::ids::PairKey;
use nix::sys::signal::Signal;

use super::{Guard, Target};
use crate::cgroup::limits;
use crate::daemon::cutting::{CallCut, Cause, Cut, PoolCut};
use crate::daemon::state::State;
use crate::observe::with_ids;
use crate::plan::{Action, RulePlan, ServiceClass, Stage, StepPlan};
use crate::recovery::hooks::{HookOptions, notify, post, run_exec};
use crate::recovery::{ActionResult, Outcome, Situation};

/// What an action came to: what was done, or how it ended otherwise and why.
pub(super) type Acted = Result<String, Ended>;

/// How it ended otherwise, and why.
pub(super) type Ended = (ActionResult, String);

pub(super) fn skipped(why: impl Into<String>) -> Acted {
    Err((ActionResult::Skipped, why.into()))
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`, which gives errors away")]
pub(super) fn failed(why: impl std::fmt::Display) -> Ended {
    (ActionResult::Failed, format!("{why}"))
}

impl Guard {
    /// Does a step.
    pub(super) fn heal(
        self: &Arc<Self>,
        rule: &RulePlan,
        target: &Target,
        step: &StepPlan,
        situation: &Situation,
    ) -> Outcome {
        if let Some(why) = self.forbidden(rule, target, step) {
            let took = Duration::ZERO;
            return Outcome { result: ActionResult::Skipped, message: why, took };
        }
        if rule.dry_run || self.lock().monitor() {
            let message = format!("would have: {}", describe(&step.action));
            return Outcome { result: ActionResult::WouldHave, message, took: Duration::ZERO };
        }
        self.act_and_again(rule, target, step, situation)
    }

    /// Does an action once.
    pub(super) fn act_once(
        self: &Arc<Self>,
        rule: &RulePlan,
        target: &Target,
        step: &StepPlan,
        situation: &Situation,
    ) -> Outcome {
        let begin = Instant::now();
        let user = step.user.as_deref();
        let options = HookOptions { timeout: step.timeout, user, cgroup: None };
        let acted = match &step.action {
            Action::EndCall => self.end_calls(rule, target),
            Action::ResetConnections { all } => self.reset_connections(target, *all),
            Action::ResetLimits(which) => self.reset_limits(target, *which),
            Action::FlushDns => self.flush_dns(target),
            Action::ClearCache(argv) | Action::Exec(argv) => {
                return self.in_cgroup(|cgroup| {
                    run_exec(argv, &HookOptions { cgroup, ..options }, situation)
                });
            }
            Action::Http(url) => {
                let policies = self.policies_of_webhook(step);
                return post(url, &options, &policies, situation, &self.tells_tries(situation));
            }
            Action::Notify => return self.call_person(situation),
            Action::Fallback(on) => {
                let Some(service) = &target.service else {
                    let message = "the rule is about no service".to_owned();
                    let (result, took) = (ActionResult::Skipped, Duration::ZERO);
                    return Outcome { result, message, took };
                };
                return self.switch_fallback(service, *on);
            }
            Action::Freeze => self.hold_down(target, limits::frozen(), "no process of it runs"),
            Action::Thaw => self.thaw(target),
            Action::MemoryHigh(bytes) => {
                self.hold_down(target, limits::throttle(*bytes), "memory.high is set")
            }
            Action::Signal(name) => self.signal(target, name),
            Action::Restart(name) => return self.restart_agent(name),
            Action::Checkpoint => return self.checkpoint_agent(&target.bulkhead),
            Action::Restore => return self.restore_agent(&target.bulkhead),
        };
        let (result, message) = match acted {
            Ok(message) => (ActionResult::Done, message),
            Err(other) => other,
        };
        Outcome { result, message, took: begin.elapsed() }
    }

    /// Why this rule may not do this, if so.
    fn forbidden(&self, rule: &RulePlan, target: &Target, step: &StepPlan) -> Option<String> {
        let state = self.lock();
        let class =
            |name: &str| state.plan.service(name).map_or(ServiceClass::Generic, |s| s.class);
        let classes: Vec<ServiceClass> = match &target.service {
            Some(service) => vec![class(service)],
            // What stops a process ends its calls to everybody.
            None => state.plan.services.iter().map(|service| service.class).collect(),
        };
        let careful = classes.into_iter().find(|class| !rule.may(&step.action, *class))?;
        Some(format!(
            "calls to services of class {careful} may be repeated by it: set allow_repeat = true in rule {}",
            rule.name
        ))
    }

    /// Calls the people of `[notify]`.
    pub(super) fn call_person(&self, situation: &Situation) -> Outcome {
        let (plan, policies) = {
            let state = self.lock();
            (state.plan.recovery.notify.clone(), state.plan.retry_policies.clone())
        };
        tracing::error!(
            incident = situation.incident,
            rule = situation.rule,
            bulkhead = situation.bulkhead.as_deref().unwrap_or_default(),
            service = situation.service.as_deref().unwrap_or_default(),
            reason = situation.reason,
            "a person is needed"
        );
        let tell = self.tells_tries(situation);
        let call = |cgroup: Option<&_>| notify(&plan, cgroup, &policies, situation, &tell);
        if plan.exec.is_empty() { call(None) } else { self.in_cgroup(call) }
    }

    fn tells_tries(&self, situation: &Situation) -> impl Fn(u32, &str, Duration) {
        |tried, failed, pause| self.tell_try(situation, tried, failed, pause)
    }

    /// The pair with these names.
    pub(super) fn pair_of(&self, state: &State, bulkhead: &str, service: &str) -> Option<PairKey> {
        let id = state.bulkheads.get(bulkhead)?.id;
        with_ids(&self.ids, |ids| {
            let service = ids.all_services().find(|id| ids.service_name(*id) == service)?;
            Some(PairKey { bulkhead: id, service })
        })
    }

    pub(super) fn pair_of_target(&self, target: &Target) -> Result<PairKey, Ended> {
        let service = target
            .service
            .as_deref()
            .ok_or_else(|| (ActionResult::Skipped, "the rule is about no service".to_owned()))?;
        self.pair_of(&self.lock(), &target.bulkhead, service)
            .ok_or_else(|| failed("the bulkhead is not set up"))
    }

    /// How many sockets a cut has ended, and where they led to.
    fn cut(&self, target: &Target, cause: Cause, cut: Cut) -> u64 {
        let key = (target.bulkhead.clone(), target.service.clone().unwrap_or_default(), cause);
        let count = || self.lock().cut_counts.get(&key).copied().unwrap_or(0);
        let before = count();
        self.order_cut(cut);
        self.wait_for_cuts();
        count().saturating_sub(before)
    }

    fn end_calls(&self, rule: &RulePlan, target: &Target) -> Acted {
        let pair = self.pair_of_target(target)?;
        let limit = rule.detectors.iter().find_map(|detector| match detector {
            crate::plan::Detector::StalledFor(limit) => Some(*limit),
            _ => None,
        });
        let key = (target.bulkhead.clone(), target.service.clone().unwrap_or_default());
        let longest = self.longest_waits().get(&key).copied();
        let Some(longest) = longest else { return skipped("no call hangs") };
        // Without a limit of the rule it is the one that hangs for longest.
        let waited = limit.unwrap_or(Duration::from_secs_f64((longest - 0.05).max(0.0)));
        let ended = self.cut(target, Cause::EndCall, Cut::Calls(CallCut { pair, waited }));
        if ended == 0 {
            return skipped("the call had ended by itself");
        }
        let addresses = self.lock().addresses_of(target.service.as_deref().unwrap_or_default());
        Ok(format!("calls ended: {ended} (to {addresses:?}); what they did may be done again"))
    }

    fn reset_connections(&self, target: &Target, all: bool) -> Acted {
        let pair = self.pair_of_target(target)?;
        let cut = Cut::Reset(PoolCut { pair, busy_too: all });
        let ended = self.cut(target, Cause::Recovery, cut);
        let which = if all { "" } else { "idle " };
        Ok(format!("{which}connections ended: {ended}"))
    }

    fn flush_dns(&self, target: &Target) -> Acted {
        let named = {
            let state = self.lock();
            let service = target.service.as_deref().and_then(|name| state.plan.service(name));
            service.is_none_or(|service| {
                let is_name = |host: &_| matches!(host, crate::plan::EndpointHost::Name(_));
                service.endpoints.iter().any(|endpoint| is_name(&endpoint.host))
            })
        };
        if !named {
            return skipped("the service has no host name");
        }
        self.resolve_again.notify_one();
        Ok("host names are resolved again".to_owned())
    }

    /// Sets a value that pressure stages set too; guardd takes it back at its end.
    fn hold_down(&self, target: &Target, setting: limits::Setting, done: &str) -> Acted {
        let name = &target.bulkhead;
        let mut state = self.lock();
        if let Some(why) = state.shared_by(name) {
            return skipped(why);
        }
        let Some(plan) = state.plan.bulkhead(name).cloned() else { return skipped("it is gone") };
        state.limits.press(name, setting.clone());
        self.set_limits_of(&mut state, &plan);
        let now = state.bulkheads.get(name).and_then(|live| live.cgroup.value(setting.file).ok());
        if now != Some(setting.value) {
            return Err(failed(format!("{} could not be set; the log says why", setting.file)));
        }
        Ok(done.to_owned())
    }

    /// The opposite of [`Guard::hold_down`], of this very value: pressure stages may set others.
    pub(super) fn let_go(&self, target: &Target, setting: &limits::Setting) -> Acted {
        let name = &target.bulkhead;
        let mut state = self.lock();
        let Some(plan) = state.plan.bulkhead(name).cloned() else { return skipped("it is gone") };
        if let Some(pressing) = state.limits.pressing.get_mut(name) {
            pressing.retain(|held| held != setting);
        }
        self.set_limits_of(&mut state, &plan);
        Ok(format!("{} is that of the configuration", setting.file))
    }

    pub(super) fn thaw(&self, target: &Target) -> Acted {
        let name = &target.bulkhead;
        let mut state = self.lock();
        if state.stages_of(name).contains(&Stage::Freeze) {
            return skipped("its pressure stages hold it frozen");
        }
        if state.budgets.freezing().any(|frozen| frozen == name) {
            return skipped("its budget holds it frozen");
        }
        let Some(plan) = state.plan.bulkhead(name).cloned() else { return skipped("it is gone") };
        if let Some(pressing) = state.limits.pressing.get_mut(name) {
            pressing.retain(|setting| setting.file != "cgroup.freeze");
        }
        self.set_limits_of(&mut state, &plan);
        Ok("its processes run".to_owned())
    }

    fn signal(&self, target: &Target, name: &str) -> Acted {
        let signal: Signal = name.parse().map_err(failed)?;
        let name = &target.bulkhead;
        let state = self.lock();
        if let Some(why) = state.shared_by(name) {
            return skipped(why);
        }
        let Some(live) = state.bulkheads.get(name) else { return skipped("it is gone") };
        let sent = live.cgroup.send(signal).map_err(failed)?;
        Ok(format!("{signal} sent, processes: {sent}"))
    }
}

fn describe(action: &Action) -> String {
    match action {
        Action::Exec(argv) | Action::ClearCache(argv) => format!("run {}", argv.join(" ")),
        Action::Http(url) => format!("post to {url}"),
        Action::Restart(target) => format!("restart {target}"),
        Action::Signal(signal) => format!("send {signal}"),
        other => other.name().to_owned(),
    }
}
