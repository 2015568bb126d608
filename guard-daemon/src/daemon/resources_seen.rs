//! What the kernel says about the limits of bulkheads: told as events, shown in `status`, counted
//! for `/metrics`. It changes nothing; what is done under pressure is next door.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::state::{Guard, State};
use crate::cgroup::limits::{Usage, Watch};
use crate::control::api::ResourceStatus;
use crate::plan::BulkheadPlan;
use crate::telemetry::metrics::ResourceSample;

/// How often bulkheads with a pressure plan are looked at.
const PRESSURE_TICK: Duration = Duration::from_millis(500);
/// How often the others are, when the kernel has nothing to tell.
const QUIET_TICK: Duration = Duration::from_secs(5);
/// How long the thread waits before it looks whether it shall stop.
const WAIT: Duration = Duration::from_millis(250);
/// Pause after a notification: more come while a bulkhead stands at its limit.
const PAUSE: Duration = Duration::from_millis(50);
/// Between two events of one kind about one bulkhead; what happens meanwhile is summed up.
const EVENT_GAP: Duration = Duration::from_secs(10);

/// Up to so many bulkheads a scrape reads the usage of all; of more, that of those with limits: it is
/// a dozen files for each.
const ALL_READ: usize = 256;

/// When a kind of event was last told of a bulkhead, and the counter then.
type Told = BTreeMap<(String, &'static str), (Instant, u64)>;

impl Guard {
    /// Looks after limits and pressure until the stop.
    pub(super) fn watch_limits(&self, stop: &AtomicBool) {
        let watch = match Watch::new() {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(%error, "no inotify: limits are looked at now and then instead");
                None
            }
        };
        let mut told = Told::new();
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let notified = if let Some(watch) = &watch {
                watch.wait(WAIT)
            } else {
                std::thread::park_timeout(WAIT);
                false
            };
            if notified {
                std::thread::sleep(PAUSE);
            } else if Instant::now() < next {
                continue;
            }
            let mut state = self.lock();
            let plans: Vec<BulkheadPlan> =
                state.plan.bulkheads.iter().filter(|plan| plan.has_limits()).cloned().collect();
            if let Some(watch) = &watch {
                let live = plans.iter().filter_map(|plan| state.bulkheads.get(&plan.name));
                watch.add(&live.map(|live| live.cgroup.path().to_owned()).collect::<Vec<_>>());
            }
            for plan in &plans {
                self.look_at(&mut state, plan, &mut told);
            }
            self.drop_ladders(&mut state);
            state.renew_refusals();
            let pressed = plans.iter().any(|plan| plan.pressure.is_some());
            next = Instant::now() + if pressed { PRESSURE_TICK } else { QUIET_TICK };
        }
    }

    fn look_at(&self, state: &mut State, plan: &BulkheadPlan, told: &mut Told) {
        let Some(live) = state.bulkheads.get(&plan.name) else { return };
        let usage = live.cgroup.usage();
        let old = state.limits.seen.insert(plan.name.clone(), usage.clone());
        if state.monitor() {
            self.would_have(state, plan, old.as_ref(), &usage);
        } else {
            self.tell_usage(&plan.name, old.as_ref(), &usage, told);
        }
        self.press(state, plan, &usage);
    }

    /// Events for what has been counted since the last look.
    fn tell_usage(&self, bulkhead: &str, old: Option<&Usage>, new: &Usage, told: &mut Told) {
        let memory = new.memory.unwrap_or_default();
        let before = old.and_then(|old| old.memory).unwrap_or(memory);
        let pids = new.pids_refused.unwrap_or(0);
        let pids_before = old.map_or(pids, |old| old.pids_refused.unwrap_or(0));
        let throttled = new.throttled_periods.unwrap_or(0);
        let throttled_before = old.map_or(throttled, |old| old.throttled_periods.unwrap_or(0));
        for (kind, before, now, what) in [
            ("oom_kill", before.oom_kill, memory.oom_kill, "killed for want of memory"),
            ("memory_at_max", before.max, memory.max, "at memory_max"),
            ("memory_at_high", before.high, memory.high, "slowed down at memory_high"),
            ("pids_at_max", pids_before, pids, "a fork refused at pids_max"),
            ("cpu_throttled", throttled_before, throttled, "a period cut short by cpu_max"),
        ] {
            let place = (bulkhead.to_owned(), kind);
            let at = told.get(&place).copied();
            // A cgroup that was made again counts from 0.
            let since = at.map_or(before, |(_, count)| count);
            let since = if since > now { 0 } else { since };
            let early = at.is_some_and(|(at, _)| at.elapsed() < EVENT_GAP);
            // A killed process is never kept back.
            if now == since || (early && kind != "oom_kill") {
                continue;
            }
            told.insert(place, (Instant::now(), now));
            let message = format!("{what} ({} since the last word)", now - since);
            tracing::warn!(bulkhead, kind, "{message}");
            self.events.note(kind, |event| {
                bulkhead.clone_into(&mut event.bulkhead);
                event.message = message;
            });
        }
    }

    /// Monitor mode: how often a bulkhead went above a limit that was not set.
    fn would_have(&self, state: &mut State, plan: &BulkheadPlan, old: Option<&Usage>, new: &Usage) {
        let none = Usage::default();
        let old = old.unwrap_or(&none);
        for (key, limit, before, now) in [
            ("memory_max", plan.limits.memory_max, old.memory_bytes, new.memory_bytes),
            ("memory_high", plan.limits.memory_high, old.memory_bytes, new.memory_bytes),
            ("pids_max", plan.limits.pids_max, old.pids, new.pids),
        ] {
            let (Some(limit), Some(now)) = (limit, now) else { continue };
            if now > limit && before.unwrap_or(0) <= limit {
                state.limits.would_have += 1;
                self.events.note("would_have", |event| {
                    event.bulkhead.clone_from(&plan.name);
                    event.message = format!("{key} {limit} would have been reached: {now} in use");
                });
            }
        }
    }
}

impl State {
    /// What a bulkhead may use, and uses now.
    pub(super) fn resources_of(&self, bulkhead: &str) -> ResourceStatus {
        let usage =
            self.bulkheads.get(bulkhead).map(|live| live.cgroup.usage()).unwrap_or_default();
        let seconds = |us: Option<u64>| us.map(|us| Duration::from_micros(us).as_secs_f64());
        let stall = |index: usize| usage.pressure[index].map(|pressure| pressure.some.avg10);
        ResourceStatus {
            limits: self.limits.records(bulkhead).to_vec(),
            memory_bytes: usage.memory_bytes,
            swap_bytes: usage.swap_bytes,
            pids: usage.pids,
            cpu_seconds: seconds(usage.cpu_us),
            cpu_throttled_seconds: seconds(usage.throttled_us),
            memory_high_events: usage.memory.map(|memory| memory.high),
            memory_max_events: usage.memory.map(|memory| memory.max),
            oom_kills: usage.memory.map(|memory| memory.oom_kill),
            pids_refused: usage.pids_refused,
            memory_stall_percent: stall(0),
            cpu_stall_percent: stall(1),
            io_stall_percent: stall(2),
            io_read_bytes: usage.io.map(|io| io.read_bytes),
            io_written_bytes: usage.io.map(|io| io.written_bytes),
            stages: self.stages_of(bulkhead).iter().map(|stage| stage.name().to_owned()).collect(),
        }
    }

    /// One per bulkhead.
    pub(super) fn resource_samples(&self) -> Vec<ResourceSample> {
        let all = self.bulkheads.len() <= ALL_READ;
        self.bulkheads
            .iter()
            .filter(|(name, _)| all || !self.limits.records(name).is_empty())
            .map(|(name, live)| ResourceSample {
                bulkhead: name.clone(),
                limits: self.limits.records(name).to_vec(),
                usage: live.cgroup.usage(),
                stages: self.stage_samples(name),
                refused: self.refused_under_pressure(live.id),
            })
            .collect()
    }
}
