//! Writes fault rules. A rule is complete before any pair points at it, and no pair points at it
//! any more before its slot is cleared.

use std::io;

use aya::maps::MapError;
use guard_common::abi::fault::{
    FaultRule, FaultStats, JitterTable, MAX_FAULT_RULES, PairRules, RateState,
};
use guard_common::abi::ids::PairKey;

use super::error::KernelError;
use super::load::Kernel;

impl Kernel {
    /// Fills a rule slot, with its counters and its random sequence at zero.
    pub fn set_fault_rule(&mut self, slot: u32, rule: &FaultRule) -> Result<(), KernelError> {
        let cpus = aya::util::nr_cpus().map_err(|(what, source)| KernelError::Io {
            what: "counting the CPUs",
            path: what.to_owned(),
            source,
        })?;
        let zeros = aya::maps::PerCpuValues::try_from(vec![FaultStats::default(); cpus]).map_err(
            |source| KernelError::Io {
                what: "clearing the counters of a fault",
                path: "FAULT_STATS".to_owned(),
                source,
            },
        )?;
        self.fault_stats
            .set(slot, zeros, 0)
            .map_err(KernelError::map("FAULT_STATS", "clearing"))?;
        self.fault_draws
            .set(slot, 0_u64, 0)
            .map_err(KernelError::map("FAULT_DRAWS", "clearing"))?;
        self.share_draws
            .set(slot, 0_u64, 0)
            .map_err(KernelError::map("SHARE_DRAWS", "clearing"))?;
        self.rates
            .set(slot, RateState::default(), 0)
            .map_err(KernelError::map("RATES", "clearing"))?;
        self.fault_rules.set(slot, rule, 0).map_err(KernelError::map("FAULT_RULES", "writing"))
    }

    /// Sets how delays of a distribution (`DISTRIBUTION_*`) vary.
    pub fn set_jitter_table(&mut self, id: u32, table: &JitterTable) -> Result<(), KernelError> {
        self.jitter.set(id, table, 0).map_err(KernelError::map("JITTER", "writing"))
    }

    /// Empties a rule slot. Its counters stay readable until it is filled again.
    pub fn clear_fault_rule(&mut self, slot: u32) -> Result<(), KernelError> {
        self.fault_rules
            .set(slot, FaultRule::default(), 0)
            .map_err(KernelError::map("FAULT_RULES", "clearing"))
    }

    /// Sets which rules apply to a pair; an empty list removes the entry.
    pub fn set_pair_rules(&mut self, pair: PairKey, slots: &[u32]) -> Result<(), KernelError> {
        if slots.is_empty() {
            return match self.pair_rules.remove(&pair) {
                Ok(()) => Ok(()),
                // Never written: an injection that failed before.
                Err(MapError::SyscallError(e)) if e.io_error.kind() == io::ErrorKind::NotFound => {
                    Ok(())
                }
                Err(e) => Err(KernelError::map("PAIR_RULES", "removing")(e)),
            };
        }
        let mut rules = PairRules::default();
        if slots.len() > rules.slots.len() {
            return Err(KernelError::Full {
                what: "faults of one bulkhead and service",
                wanted: slots.len(),
                capacity: rules.slots.len(),
            });
        }
        rules.count = slots.len() as u32;
        rules.slots[..slots.len()].copy_from_slice(slots);
        self.pair_rules.insert(pair, rules, 0).map_err(KernelError::map("PAIR_RULES", "writing"))
    }

    /// What the kernel holds of faults now, read back, one line each: rules in their slots, and
    /// pairs that rules apply to.
    pub fn fault_entries(&self) -> Result<Vec<String>, KernelError> {
        let mut lines = Vec::new();
        for slot in 0..MAX_FAULT_RULES as u32 {
            let rule = self.fault_rules.get(&slot, 0);
            let rule = rule.map_err(KernelError::map("FAULT_RULES", "reading"))?;
            if rule.effect != 0 {
                lines.push(format!("rule {slot}: fault {}", rule.id));
            }
        }
        for entry in &self.pair_rules {
            let (pair, rules) = entry.map_err(KernelError::map("PAIR_RULES", "reading"))?;
            let PairKey { bulkhead, service } = pair;
            lines.push(format!("bulkhead {bulkhead}, service {service}: {} rules", rules.count));
        }
        Ok(lines)
    }

    /// What the rule in a slot did.
    pub fn fault_stats(&self, slot: u32) -> Result<FaultStats, KernelError> {
        let per_cpu =
            self.fault_stats.get(&slot, 0).map_err(KernelError::map("FAULT_STATS", "reading"))?;
        let mut sum = FaultStats::default();
        for cpu in per_cpu.iter() {
            // Destructured, so that a new counter cannot be forgotten here.
            let FaultStats {
                matched,
                delayed,
                dropped,
                refused,
                expired,
                protected,
                would_have,
                reset,
                bytes,
                candidates,
                chosen,
            } = &mut sum;
            *matched += cpu.matched;
            *delayed += cpu.delayed;
            *dropped += cpu.dropped;
            *refused += cpu.refused;
            *expired += cpu.expired;
            *protected += cpu.protected;
            *would_have += cpu.would_have;
            *reset += cpu.reset;
            *bytes += cpu.bytes;
            *candidates += cpu.candidates;
            *chosen += cpu.chosen;
        }
        Ok(sum)
    }
}
