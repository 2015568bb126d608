//! Limits: the plan's into the kernel.

use std::collections::BTreeMap;

use guard_common::abi::ids::PairKey;
use guard_common::abi::limits::{BLOCKED_BUDGET, RETRIES_UNLIMITED, SERVICE_ALL};
use nix::errno::Errno;

use super::bulkheads::LiveBulkhead;
use super::error::DaemonError;
use super::pacing::{bucket, shared};
use super::state::State;
use super::waits::ZERO_PAIRS;
use crate::control::api::LimitStatus;
use crate::kernel::{LimitPolicy, LimitView, PacePolicy, boottime_ns};
use crate::observe::limit_status;
use crate::plan::{Ids, LimitSettings};
use crate::telemetry::metrics::LimitSample;

/// The settings as the kernel wants them.
fn policy(plan: &LimitSettings, blocked: u32, pace: PacePolicy) -> LimitPolicy {
    let LimitSettings { max_connections, retries, errno, pace: _, pacing_max_delay: _ } = *plan;
    LimitPolicy {
        max_connections: max_connections.unwrap_or(0),
        max_retries: retries.map_or(RETRIES_UNLIMITED, |retries| retries.max),
        retry_window_ns: retries
            .map_or(0, |retries| u64::try_from(retries.window.as_nanos()).unwrap_or(u64::MAX)),
        budgeted: retries.is_some(),
        blocked,
        errno: errno.unwrap_or(Errno::ECONNREFUSED) as u32,
        pace,
    }
}

/// Limits of a bulkhead and what is used of them, first as a whole.
pub(super) fn limits_of(ids: &Ids, all: &[LimitView], bulkhead: u32) -> Vec<LimitStatus> {
    let now_ns = boottime_ns();
    let mut views: Vec<_> = all.iter().filter(|v| v.pair.bulkhead == bulkhead).collect();
    views.sort_by_key(|view| view.pair.service != SERVICE_ALL);
    views.into_iter().map(|view| limit_status(view.pair, &view.slot, ids, now_ns)).collect()
}

impl State {
    /// `BLOCKED_*` of a pair, or of a bulkhead as a whole.
    fn blocked(&self, pair: PairKey) -> u32 {
        if self.budgets.blocks(pair) { BLOCKED_BUDGET } else { 0 }
    }

    /// All of them with their bulkheads' names, for metrics.
    pub(super) fn limit_samples(&self, ids: &Ids) -> Vec<LimitSample> {
        let all = self.kernel.limits();
        // As for counters: with many pairs, only those that say something.
        let few = self.bulkheads.len() * (self.plan.services.len() + 1) <= ZERO_PAIRS;
        let worth_it =
            |limit: &LimitStatus| few || limit.service.is_none() || limit.says_something();
        let of = |(name, live): (&String, &LiveBulkhead)| {
            let sample = |limit| LimitSample { bulkhead: name.clone(), limit };
            let limits = limits_of(ids, &all, live.id).into_iter();
            limits.filter(|limit| worth_it(limit)).map(sample).collect::<Vec<_>>()
        };
        self.bulkheads.iter().flat_map(of).collect()
    }

    /// Writes the limits of all bulkheads, as a whole and by service (`pairs`, with `other`).
    pub(super) fn write_limits(
        &mut self,
        pairs: &BTreeMap<PairKey, (String, String)>,
    ) -> Result<(), DaemonError> {
        self.choose_pacing(pairs);
        let mut wanted = BTreeMap::new();
        for (name, live) in &self.bulkheads {
            let whole = PairKey { bulkhead: live.id, service: SERVICE_ALL };
            let plan = self.plan.limits.of_bulkhead(name);
            wanted.insert(whole, policy(&plan, self.blocked(whole), bucket(plan.pace)));
        }
        for (pair, (bulkhead, service)) in pairs {
            let plan = self.plan.limits.of_pair(bulkhead, service);
            let pace = self.pacing.policy(*pair, plan.pace);
            wanted.insert(*pair, policy(&plan, self.blocked(*pair), pace));
            if let Some(pace) = self.plan.limits.of_services.get(service) {
                let none = LimitSettings::default();
                wanted.insert(shared(pair.service), policy(&none, 0, bucket(Some(*pace))));
            }
        }
        self.kernel.set_limits(&wanted)?;
        self.hold_paced();
        Ok(())
    }
}
