//! How each limit of a bulkhead stands, for people: one record for its own cgroup and the cgroups
//! that its pattern matches together. It changes nothing.

use std::path::Path;

use super::set::{Held, Standing};
use crate::cgroup::limits::{self, Refusal, Setting};
use crate::control::api::LimitRecord;
use crate::daemon::state::State;
use crate::plan::BulkheadPlan;

/// One limit in one cgroup.
pub(super) fn record(setting: &Setting, state: &str, refusal: Option<Refusal>) -> LimitRecord {
    let Refusal { why, cure } =
        refusal.unwrap_or(Refusal { why: String::new(), cure: String::new() });
    LimitRecord {
        resource: setting.name(),
        value: setting.value.clone(),
        limit: setting.number,
        state: state.to_owned(),
        why,
        cure,
        ..LimitRecord::default()
    }
}

/// One limit in the bulkhead's own cgroup and in those that match its pattern, if it has one: the
/// first that is not as it should be speaks for all.
pub(super) fn sum_up(
    setting: &Setting,
    own: Standing,
    matches: Option<&Vec<(&Path, &Standing)>>,
) -> LimitRecord {
    let none = Vec::new();
    let all = matches.unwrap_or(&none);
    let bad = all.iter().find_map(|(path, standing)| Some((path, (*standing).as_ref().err()?)));
    let mut record = match (own, bad) {
        (Err((state, refusal)), _) => record(setting, state, Some(refusal)),
        (Ok(_), None) => record(setting, "enforced", None),
        (Ok(_), Some((path, (state, Refusal { why, cure })))) => {
            let count = all.iter().filter(|(_, standing)| standing.is_err()).count();
            let why = format!("in {count} of {} cgroups, as {}: {why}", all.len(), path.display());
            record(setting, state, Some(Refusal { why, cure: cure.clone() }))
        }
    };
    if matches.is_some() {
        record.matches = Some(all.len() as u64);
        record.matches_limited = Some(all.iter().filter(|(_, s)| s.is_ok()).count() as u64);
        if record.state == "enforced" && all.iter().any(|(_, s)| matches!(s, Ok(Held::Theirs))) {
            record.remark =
                "a cgroup that matches keeps its own, which is as strict or stricter".into();
        }
    }
    record
}

impl State {
    /// What is odd about limits that are enforced.
    pub(super) fn remark(&self, plan: &BulkheadPlan, records: &mut [LimitRecord]) {
        let Some(live) = self.bulkheads.get(&plan.name) else { return };
        let memory = limits::memory_of_host();
        for record in records.iter_mut().filter(|record| record.state == "enforced") {
            match record.resource.as_str() {
                "memory_max" | "memory_high" if memory.is_some_and(|m| record.limit > m as f64) => {
                    record.remark = "above the memory of this host, so it is never reached".into();
                }
                "pids_max" => {
                    let running = live.cgroup.value("pids.current").ok();
                    let running: Option<u64> = running.and_then(|text| text.parse().ok());
                    if let Some(running) = running.filter(|n| *n as f64 > record.limit) {
                        record.remark =
                            format!("{running} run already: no new one until there are fewer");
                    }
                }
                "io_weight" if !limits::devices_are_weighed(&self.hierarchy) => {
                    record.remark =
                        "no block device has its cost model on (io.cost.qos of the top \
                                     cgroup), so it has no effect"
                            .into();
                }
                _ => {}
            }
        }
    }
}
