//! Reads counters: exact sums over the CPUs.

use std::collections::BTreeMap;
use std::time::Duration;

use guard_common::abi::ids::PairKey;
use guard_common::abi::stats::{HookStats, PairStats};

use super::error::KernelError;
use super::load::Kernel;

/// All counters of (bulkhead, service) pairs.
pub type Counters = BTreeMap<PairKey, PairStats>;

/// Run-time statistics of one program (zero unless the kernel collects them).
#[derive(Clone, Debug)]
pub struct ProgramRun {
    /// Program name.
    pub name: String,
    /// Time spent.
    pub run_time: Duration,
    /// Runs.
    pub run_count: u64,
}

impl Kernel {
    /// Counters of every pair that ever talked.
    pub fn counters(&self) -> Result<Counters, KernelError> {
        let mut all = Counters::new();
        for entry in &self.pair_stats {
            let (pair, per_cpu) = entry.map_err(KernelError::map("PAIR_STATS", "reading"))?;
            let mut sum = PairStats::ZERO;
            for cpu in per_cpu.iter() {
                sum.add(cpu);
            }
            all.insert(pair, sum);
        }
        Ok(all)
    }

    /// What went wrong inside the hooks.
    pub fn hook_stats(&self) -> Result<HookStats, KernelError> {
        let per_cpu =
            self.hook_stats.get(&0, 0).map_err(KernelError::map("HOOK_STATS", "reading"))?;
        let mut sum = HookStats::default();
        for cpu in per_cpu.iter() {
            let HookStats {
                events_lost,
                odd_packets,
                storage_failures,
                stats_failures,
                sockless_packets,
                contended_breakers,
            } = &mut sum;
            *events_lost += cpu.events_lost;
            *odd_packets += cpu.odd_packets;
            *storage_failures += cpu.storage_failures;
            *stats_failures += cpu.stats_failures;
            *sockless_packets += cpu.sockless_packets;
            *contended_breakers += cpu.contended_breakers;
        }
        Ok(sum)
    }

    /// Run-time statistics of the programs that are loaded.
    pub fn program_runs(&self) -> Vec<ProgramRun> {
        let mut runs: Vec<_> = self
            .ebpf
            .programs()
            .filter_map(|(name, program)| {
                let info = program.info().ok()?;
                Some(ProgramRun {
                    name: name.to_owned(),
                    run_time: info.run_time(),
                    run_count: info.run_count(),
                })
            })
            .collect();
        runs.sort_by(|a, b| a.name.cmp(&b.name));
        runs
    }

    /// Entries in use and capacity of the maps that can fill up, by name.
    pub fn map_entries(&self) -> Result<Vec<(&'static str, usize, usize)>, KernelError> {
        let pairs = self.pair_stats.keys().count();
        let endpoints = self.endpoints.keys().count();
        Ok(vec![
            ("pair_stats", pairs, self.options.pairs as usize),
            ("endpoints", endpoints, self.options.endpoints as usize),
        ])
    }
}
