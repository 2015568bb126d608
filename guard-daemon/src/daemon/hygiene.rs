//! Connection hygiene: which socket options the hooks set for which service.

use std::collections::BTreeMap;
use std::time::Duration;

use guard_common::abi::hygiene::HygienePolicy;
use guard_common::abi::ids::PairKey;

use super::error::DaemonError;
use super::state::{Guard, State};
use crate::observe::with_ids;
use crate::plan::HygienePlan;

/// The settings as the kernel wants them.
pub(super) fn policy(plan: &HygienePlan) -> HygienePolicy {
    HygienePolicy {
        keepalive_idle_s: whole_seconds(plan.keepalive),
        keepalive_interval_s: whole_seconds(plan.keepalive_interval),
        keepalive_probes: plan.keepalive_probes,
        user_timeout_ms: u32::try_from(plan.user_timeout.as_millis()).unwrap_or(u32::MAX),
    }
}

/// Rounded up: never stricter than was asked for.
fn whole_seconds(time: Duration) -> u32 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() != 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

impl State {
    /// Writes the socket options of every service. In monitor mode there are none.
    pub(super) fn write_hygiene(
        &mut self,
        pairs: &BTreeMap<PairKey, (String, String)>,
    ) -> Result<(), DaemonError> {
        let mut wanted = BTreeMap::new();
        if !self.monitor() {
            for (pair, (_, service)) in pairs {
                let plan = self.plan.hygiene_of(service);
                if plan.on {
                    wanted.insert(pair.service, policy(&plan));
                }
            }
        }
        self.kernel.set_hygiene(&wanted).map_err(Into::into)
    }
}

impl Guard {
    /// The hygiene of a service; `None` if it is off.
    pub(super) fn hygiene_policy(&self, state: &State, service: u32) -> Option<HygienePlan> {
        let plan = with_ids(&self.ids, |ids| state.plan.hygiene_of(ids.service_name(service)));
        plan.on.then_some(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_as_the_kernel_wants_them() {
        let wanted = HygienePolicy {
            keepalive_idle_s: 20,
            keepalive_interval_s: 10,
            keepalive_probes: 3,
            user_timeout_ms: 50_000,
        };
        assert_eq!(policy(&HygienePlan::default()), wanted);
    }

    #[test]
    fn parts_of_seconds_are_rounded_up() {
        let keepalive = Duration::from_millis(1_001);
        let plan = HygienePlan { keepalive, ..HygienePlan::default() };
        assert_eq!(policy(&plan).keepalive_idle_s, 2);
    }
}
