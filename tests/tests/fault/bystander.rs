//! The bulkhead that no fault is aimed at. It calls the very same services while faults act, and
//! at the end of each test it must never have noticed.

use std::net::SocketAddr;

use testbed::agent::AgentProcess;
use testbed::guardd::Guardd;
use testbed::stats;

use crate::rig::{Rules, WRITING, agent, good_calls, pair, untouched, url};

pub(crate) struct Bystander {
    kept: AgentProcess,
    fresh: AgentProcess,
    calls: u32,
    rules: Rules,
    chains: Vec<String>,
}

impl Bystander {
    pub(crate) fn new(guardd: &Guardd, target: SocketAddr) -> Self {
        let rules = Rules::of(guardd);
        assert_eq!(rules.chains(), [""; 0], "before any fault");
        Self {
            kept: agent(guardd, WRITING, &url(target), &["--keep-alive"]),
            fresh: agent(guardd, WRITING, &url(target), &[]),
            calls: 0,
            rules,
            chains: Vec::new(),
        }
    }

    /// Calls over a kept and over new connections; all succeed. The median of their times, ms.
    pub(crate) fn calls(&mut self) -> f64 {
        self.chains.extend(self.rules.chains());
        let mut records = good_calls(&mut self.kept, 5);
        records.extend(good_calls(&mut self.fresh, 5));
        self.calls += 10;
        let took: Vec<f64> = records.iter().map(|record| record.total_us / 1000.0).collect();
        stats::median(&took).unwrap()
    }

    /// Chains of netfilter rules seen so far.
    pub(crate) fn chains(&self) -> &[String] {
        &self.chains
    }

    /// Nothing was touched, all was counted, and no rule is left.
    pub(crate) fn end(mut self, guardd: &Guardd, service: &str) {
        self.calls();
        untouched(guardd, WRITING);
        let seen = pair(guardd, WRITING, service);
        assert_eq!(
            (seen.call("success"), seen.all_calls()),
            (u64::from(self.calls), seen.call("success"))
        );
        self.rules.gone(&self.chains);
    }
}
