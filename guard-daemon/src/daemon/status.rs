//! The answer to `status`.

use std::collections::BTreeMap;

use guard_common::abi::stats::PairStats;

use super::error::DaemonError;
use super::state::{Guard, State};
use crate::control::api::{BreakerRecord, BulkheadStatus, ServiceStatus, Status};
use crate::fault::Engine;
use crate::kernel::Counters;
use crate::observe::{Audit, pair_status, with_ids};
use crate::plan::Mode;

impl Guard {
    /// Everything that an operator asks first. Blocking.
    pub(crate) fn status_now(&self) -> Result<Status, DaemonError> {
        let audit = self.audit_recent()?;
        let agents = self.agents_now().agents;
        let state = self.lock();
        let counters = state.kernel.counters()?;
        let hooks = state.kernel.hook_stats()?;
        let problems = state.problems();
        Ok(Status {
            schema: "guard.status/1".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            mode: mode_name(state.plan.daemon.mode).to_owned(),
            health: if problems.is_empty() { "ok" } else { "degraded" }.to_owned(),
            problems,
            config_path: self.config_path.display().to_string(),
            config_age_seconds: state.config_loaded.elapsed().as_secs_f64(),
            last_scrape_seconds: self.since_scrape().map(|since| since.as_secs_f64()),
            cgroup_root: state.root.path().display().to_string(),
            delay_engine: self.delay_engine().to_owned(),
            halted: state.faults.halted().map(str::to_owned),
            faults: state.faults.records(&state.kernel),
            events_lost: hooks.events_lost,
            bulkheads: self.bulkheads_of(&state, &counters, &audit),
            agents,
        })
    }

    /// The engine that a latency fault would use where the device does not decide for EDT.
    pub(crate) fn delay_engine(&self) -> &'static str {
        if self.engines.nfqueue().is_ok() { Engine::Nfqueue.name() } else { "edt only" }
    }

    fn bulkheads_of(
        &self,
        state: &State,
        counters: &Counters,
        audit: &Audit,
    ) -> Vec<BulkheadStatus> {
        let mut services: BTreeMap<u32, Vec<ServiceStatus>> = BTreeMap::new();
        let mut totals: BTreeMap<u32, PairStats> = BTreeMap::new();
        with_ids(&self.ids, |ids| {
            for (pair, stats) in counters {
                let status = pair_status(ids.service_name(pair.service), stats);
                services.entry(pair.bulkhead).or_default().push(status);
                totals.entry(pair.bulkhead).or_default().add(stats);
            }
        });
        let mut breakers: BTreeMap<String, Vec<BreakerRecord>> = BTreeMap::new();
        for breaker in self.breaker_records(state) {
            breakers.entry(breaker.bulkhead.clone()).or_default().push(breaker);
        }
        let limits = state.kernel.limits();
        let bulkheads = state.bulkheads.iter().map(|(name, live)| {
            let limits = with_ids(&self.ids, |ids| super::limits::limits_of(ids, &limits, live.id));
            let mut services = services.remove(&live.id).unwrap_or_default();
            services.sort_by(|a, b| a.name.cmp(&b.name));
            let breakers = breakers.remove(name).unwrap_or_default();
            for service in &mut services {
                let own = breakers.iter().find(|breaker| breaker.service == service.name);
                service.breaker = own.filter(|own| own.mode != "off").map(|own| own.state.clone());
            }
            let open = breakers.iter().filter(|breaker| breaker.state == "open");
            BulkheadStatus {
                name: name.clone(),
                cgroup: live.cgroup.path().display().to_string(),
                state: live.state_text(),
                inside: state.outers(name),
                matches: live.matches.keys().map(|path| path.display().to_string()).collect(),
                processes: live.process_count(),
                orphans: state.members.orphans(name),
                connections: services.iter().map(|service| service.connections).sum(),
                limits: limits
                    .into_iter()
                    .filter(|limit| limit.service.is_none() || limit.says_something())
                    .collect(),
                unguarded: audit.unguarded.get(&live.id).cloned().unwrap_or_default(),
                services,
                total: pair_status("all", &totals.remove(&live.id).unwrap_or_default()),
                breakers: breakers.len() as u64,
                open_breakers: open.map(|breaker| breaker.service.clone()).collect(),
                resources: state.resources_of(name),
            }
        });
        bulkheads.collect()
    }
}

impl State {
    /// What is wrong now, one line each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, live) in &self.bulkheads {
            let text = live.state_text();
            if text != "attached" {
                problems.push(format!("bulkhead {name} is {text}"));
            }
        }
        problems.extend(self.members.problems());
        for (name, why) in self.resolved.problems() {
            problems.push(format!("host name {name} does not resolve: {why}"));
        }
        problems.extend(self.limits.problems());
        problems.extend(self.fallback_lines());
        problems.extend(self.gateway_lines());
        problems.extend(self.pacing.problems());
        problems.extend(self.storms.lines());
        for incident in self.incidents.active() {
            let of = &incident.situation;
            let whose = [&of.bulkhead, &of.service].map(|name| name.clone().unwrap_or_default());
            let (id, rule) = (incident.id, &of.rule);
            problems.push(format!(
                "incident {id} ({}, rule {rule}): {}",
                whose.join("/"),
                of.reason
            ));
        }
        if let Some(problem) = self.incidents.problem() {
            problems.push(format!("incidents are kept in memory alone: {problem}"));
        }
        if !self.reload_ok {
            problems.push("the last reload failed; the configuration before it is in force".into());
        }
        for fault in self.faults.records(&self.kernel) {
            for warning in fault.warnings {
                problems.push(format!("fault {}: {warning}", fault.id));
            }
        }
        problems
    }
}

/// `enforce` or `monitor`.
pub(crate) const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Monitor => "monitor",
    }
}
