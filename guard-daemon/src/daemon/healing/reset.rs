//! The action `reset_limits`: what limits the calls of a bulkhead to a service begins anew. It closes no
//! breaker that is OPEN; budgets it touches only where the step says so.

use std::collections::BTreeSet;

use guard_common::abi::ids::PairKey;
use guard_common::abi::limits::SERVICE_ALL;

use super::act::{Acted, failed, skipped};
use super::{Guard, Target};
use crate::plan::LimitReset;

impl Guard {
    pub(super) fn reset_limits(&self, target: &Target, which: LimitReset) -> Acted {
        let pairs = self.pairs_of_target(target)?;
        let mut done = Vec::new();
        if which >= LimitReset::Counters {
            let (mut retries, mut failures, mut calls) = (0_u64, 0, 0);
            {
                let state = self.lock();
                for pair in &pairs {
                    retries += state.kernel.reset_retries(*pair).map_or(0, u64::from);
                    let forgotten = state.kernel.forget_counts(*pair).unwrap_or_default();
                    failures += forgotten.failures;
                    calls += forgotten.calls;
                }
            }
            done.push(format!(
                "counted from 0 again: {retries} retries, {failures} failures in a row, {calls} calls in the \
                 breaker's window"
            ));
        }
        if which >= LimitReset::Budgets {
            let mut state = self.lock();
            let released = self.release_budgets_of(&mut state, &target.bulkhead).unwrap_or(0);
            done.push(format!("budgets released until their period ends: {released}"));
        }
        if let Some(service) = &target.service {
            // The tries themselves go on until the incident ends.
            done.push(match self.may_probe(&self.lock(), &target.bulkhead, service) {
                Some(_) => {
                    "its breaker may probe as soon as guardd can connect to the service".into()
                }
                None => "the breaker needs no early probe, or may have none".into(),
            });
        }
        if done.is_empty() {
            return skipped("the rule is about no service: there is no breaker to probe");
        }
        Ok(done.join("; "))
    }

    /// The pair of a target; of one that is about a bulkhead as a whole, all of its pairs.
    fn pairs_of_target(&self, target: &Target) -> Result<BTreeSet<PairKey>, super::act::Ended> {
        if target.service.is_some() {
            return Ok([self.pair_of_target(target)?].into());
        }
        let state = self.lock();
        let live = state.bulkheads.get(&target.bulkhead);
        let id = live.ok_or_else(|| failed("the bulkhead is not set up"))?.id;
        let limits = state.kernel.limits().into_iter().map(|view| view.pair);
        let breakers = state.kernel.breakers().into_iter().map(|view| view.pair);
        let own = |pair: &PairKey| pair.bulkhead == id && pair.service != SERVICE_ALL;
        Ok(limits.chain(breakers).filter(own).collect())
    }
}
