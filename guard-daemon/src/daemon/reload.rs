//! Reload: all of the new configuration, or none of it. Connections, counters and faults of what
//! stays are not touched.

use std::collections::BTreeSet;
use std::time::Instant;

use super::endpoints::names;
use super::error::DaemonError;
use super::members;
use super::nesting::outer_first;
use super::state::{Guard, State};
use crate::config;
use crate::control::api::{ErrorBody, Reloaded};
use crate::plan::{self, BulkheadPlan, Plan};

impl Guard {
    /// Reads the configuration again and applies what changed. With `dry_run` it says what would
    /// change. After an error the configuration before it is in force.
    pub(crate) fn reload(&self, dry_run: bool) -> Result<Reloaded, ErrorBody> {
        let result = self.try_reload(dry_run);
        if !dry_run {
            let mut state = self.lock();
            state.reload_ok = result.is_ok();
            let message = match &result {
                Ok(reloaded) => format!("{} changes", reloaded.changes.len()),
                Err(body) => {
                    tracing::error!(error = body.error, "reload failed; nothing was changed");
                    "failed; the configuration before it is in force".to_owned()
                }
            };
            drop(state);
            self.events.note("reloaded", |event| event.message = message);
        }
        result
    }

    fn try_reload(&self, dry_run: bool) -> Result<Reloaded, ErrorBody> {
        let loaded = config::load(&self.config_path).map_err(|errors| ErrorBody {
            error: errors.render(false),
            help: format!("guardctl check {}", self.config_path.display()),
            exit_code: 2,
        })?;
        let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
        let uids = (!dry_run).then(|| members::look_up(&loaded.plan));
        let mut state = self.lock();
        let diff = plan::diff(&state.plan, &loaded.plan);
        let reloaded = Reloaded {
            schema: "guard.reload/1".into(),
            changes: diff.changes,
            needs_restart: diff.needs_restart,
            warnings,
        };
        if let Some(uids) = uids {
            self.apply(&mut state, loaded.plan, uids)?;
            state.config_loaded = Instant::now();
            self.schedules_changed.notify_one();
            for change in &reloaded.changes {
                tracing::info!(change, "reloaded");
            }
        }
        Ok(reloaded)
    }

    /// Applies a plan. Keys that need a restart keep their old values.
    fn apply(
        &self,
        state: &mut State,
        mut new: Plan,
        uids: members::Uids,
    ) -> Result<(), DaemonError> {
        // Destructured, so that a new key must be sorted into one of the two kinds.
        let plan::DaemonPlan {
            mode: _,
            strict: _,
            state_dir,
            control_socket,
            metrics_listen,
            cgroup_root,
            fault_lease: _,
            on_exit,
            fail: _,
            heartbeat_timeout: _,
            protected: _,
        } = state.plan.daemon.clone();
        new.daemon = plan::DaemonPlan {
            state_dir,
            control_socket,
            metrics_listen,
            cgroup_root,
            on_exit,
            ..new.daemon
        };
        state.foresee_limits(&new)?;
        state.number(&new, &self.ids)?;
        let old = state.plan.clone();
        let moved = |b: &&BulkheadPlan| new.bulkhead(&b.name).map(|n| &n.cgroup) != Some(&b.cgroup);
        let leaving: Vec<_> = old.bulkheads.iter().filter(moved).cloned().collect();
        let arriving: Vec<_> = new
            .bulkheads
            .iter()
            .filter(|b| old.bulkhead(&b.name).map(|o| &o.cgroup) != Some(&b.cgroup))
            .cloned()
            .collect();
        // A bulkhead that moves keeps its name, so its old place must go first; everything that can
        // fail comes before anything that cannot be taken back.
        let brand_new = outer_first(arriving.iter().filter(|b| old.bulkhead(&b.name).is_none()));
        let mut added = Vec::new();
        state.announce(brand_new.iter().copied());
        for bulkhead in &brand_new {
            if let Err(error) = state.add_bulkhead(bulkhead, &self.ids) {
                state.remove_bulkheads(added);
                state.forget_announced();
                return Err(error);
            }
            added.push(bulkhead.name.as_str());
        }
        state.forget_announced();
        // Of those that stay too, if what lies inside them changes: the rules of a fault know it.
        let changed = |b: &&BulkheadPlan| {
            leaving.iter().chain(&arriving).any(|other| other.cgroup.starts_with(&b.cgroup))
        };
        for bulkhead in old.bulkheads.iter().filter(changed).chain(&leaving) {
            for id in state.faults.ids(Some(&bulkhead.name)) {
                self.end_fault(state, id, "reloaded");
            }
        }
        for (bulkhead, left) in state.remove_bulkheads(leaving.iter().map(|b| b.name.as_str())) {
            tracing::warn!(bulkhead, left, "bulkhead removed, its cgroup not");
        }
        let services: BTreeSet<_> = new.services.iter().map(|s| s.name.as_str()).collect();
        let gone = old.services.iter().filter(|s| !services.contains(s.name.as_str()));
        for service in gone.map(|s| s.name.clone()).collect::<Vec<_>>() {
            let faults = state.faults.records(&state.kernel);
            for fault in faults.iter().filter(|fault| fault.service == service) {
                self.end_fault(state, fault.id, "reloaded");
            }
        }
        state.plan = new;
        state.follow_budgets();
        let moved_here = outer_first(arriving.iter().filter(|b| old.bulkhead(&b.name).is_some()));
        let mut first_error = None;
        for bulkhead in moved_here {
            if let Err(error) = state.add_bulkhead(bulkhead, &self.ids) {
                tracing::error!(bulkhead = bulkhead.name, %error, "bulkhead not set up");
                first_error.get_or_insert(error);
            }
        }
        self.refresh_matches(state);
        state.members.uids = uids;
        self.settle_owners(state);
        self.set_all_limits(state);
        state.write_fallbacks(&self.ids)?;
        state.write_socket_kinds(&old)?;
        state.resolved.keep_names(&names(&state.plan));
        state.write_endpoints(&self.ids)?;
        state.write_breakers(&self.ids)?;
        self.names.send_replace(names(&state.plan));
        first_error.map_or(Ok(()), Err)
    }
}
