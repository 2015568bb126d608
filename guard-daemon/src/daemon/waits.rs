//! The answers to `waits` and to scrapes: both read counters and sockets, and change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};

use super::breakers::{reason_name, state_name};
use super::error::DaemonError;
use super::state::{Guard, State};
use crate::control::api::{BreakerRecord, Waits};
use crate::net::sock_diag;
use crate::observe::{BulkheadView, collect_waits, with_ids};
use crate::telemetry::http::Source;
use crate::telemetry::metrics::{CutSample, PairSample, Sample, TransitionSample};

/// Pairs up to which every configured one has its zeros in `/metrics`; beyond it only those with
/// traffic, so that 100 bulkheads × 100 services do not make 70,000 series of zeros.
pub(super) const ZERO_PAIRS: usize = 1_000;

impl Guard {
    /// Every hanging call. Blocking; the state is not locked while sockets are listed.
    pub(crate) fn waits_now(&self) -> Result<Waits, DaemonError> {
        let (storage, bulkheads, paced) = {
            let state = self.lock();
            (storage_of(&state)?, views(&state), state.paced_sockets())
        };
        let collect = |ids: &_| collect_waits(storage.as_fd(), &bulkheads, ids, paced.as_ref());
        Ok(with_ids(&self.ids, collect))
    }

    /// Addresses that any socket of this host's namespace is connected to.
    pub(crate) fn addresses_in_use() -> Result<BTreeSet<IpAddr>, sock_diag::DiagError> {
        Ok(sock_diag::dump(None)?.into_iter().map(|socket| socket.peer.ip()).collect())
    }

    fn pair_samples(&self, state: &State) -> Result<Vec<PairSample>, DaemonError> {
        let mut counters = state.kernel.counters()?;
        let services = state.plan.services.len() + 1;
        with_ids(&self.ids, |ids| {
            if state.bulkheads.len() * services <= ZERO_PAIRS {
                for live in state.bulkheads.values() {
                    for service in ids.all_services() {
                        let pair = guard_common::abi::ids::PairKey { bulkhead: live.id, service };
                        counters.entry(pair).or_default();
                    }
                }
            }
            Ok(counters
                .into_iter()
                .map(|(pair, stats)| PairSample {
                    bulkhead: ids.bulkhead_name(pair.bulkhead).to_owned(),
                    destination: ids.service_name(pair.service).to_owned(),
                    stats,
                })
                .collect())
        })
    }

    fn sample_now(&self) -> Result<Sample, DaemonError> {
        self.scraped();
        let waits = self.waits_now()?;
        self.audit_recent()?;
        let recovery = self.recovery_sample();
        let agents = self.agent_samples();
        let state = self.lock();
        let mut faults = state.faults.records(&state.kernel);
        faults.extend(state.faults.ended().cloned());
        faults.sort_by_key(|fault| fault.id);
        Ok(Sample {
            pairs: self.pair_samples(&state)?,
            faults,
            agents,
            breakers: worth_a_series(self.breaker_records(&state)),
            fallbacks: state.fallback_samples(),
            fallbacks_usable: state.fallbacks_usable(),
            gateways: self.gateways.samples(|service| state.has_gateway(service)),
            limits: with_ids(&self.ids, |ids| state.limit_samples(ids)),
            retry_budget_left: state.retry_budget_left(),
            storms: state.storms.samples(),
            transitions: transition_samples(&state),
            cuts: cut_samples(&state),
            stalls: state.stalls.iter().map(|(pair, n)| (pair.clone(), *n)).collect(),
            would_cut: state.would_cut.values().sum(),
            would_end: state.members.would_end,
            orphans: state
                .bulkheads
                .keys()
                .map(|name| (name.clone(), state.members.orphans(name)))
                .collect(),
            waits: waits.waits,
            map_entries: state.kernel.map_entries()?,
            programs: state.kernel.program_runs(),
            hooks: state.kernel.hook_stats()?,
            bulkheads: state
                .bulkheads
                .iter()
                .map(|(name, live)| (name.clone(), live.process_count(), live.attached.is_some()))
                .collect(),
            resources: state.resource_samples(),
            would_limit: state.limits.would_have,
            reload_ok: state.reload_ok,
            config_age_seconds: state.config_loaded.elapsed().as_secs_f64(),
            scrapes: self.scrapes.load(std::sync::atomic::Ordering::Relaxed),
            peers_refused: self.peers_refused.load(std::sync::atomic::Ordering::Relaxed),
            halted: state.faults.halted().is_some(),
            creations: self.creation_samples(&state)?,
            unguarded: self.unguarded_samples(&state),
            recovery,
            schedules: state.schedules.samples(&state.plan.schedules, &jiff::Zoned::now()),
        })
    }
}

impl Source for Guard {
    fn sample(&self) -> Result<Sample, String> {
        self.sample_now().map_err(|e| e.to_string())
    }

    fn ready(&self) -> Result<(), String> {
        let state = self.lock();
        let detached: Vec<_> = state
            .bulkheads
            .iter()
            .filter(|(_, live)| live.state_text() != "attached")
            .map(|(name, live)| format!("bulkhead {name} is {}", live.state_text()))
            .collect();
        if detached.is_empty() { Ok(()) } else { Err(detached.join("\n")) }
    }
}

fn transition_samples(state: &State) -> Vec<TransitionSample> {
    let samples = state.transition_counts.iter();
    samples
        .map(|((bulkhead, destination, from, to, reason), count)| TransitionSample {
            bulkhead: bulkhead.clone(),
            destination: destination.clone(),
            from: state_name(*from),
            to: state_name(*to),
            reason: reason_name(*reason),
            count: *count,
        })
        .collect()
}

/// All breakers, or, where they are many, those that something has happened to.
fn worth_a_series(mut breakers: Vec<BreakerRecord>) -> Vec<BreakerRecord> {
    if breakers.len() > ZERO_PAIRS {
        breakers.retain(|breaker| !breaker.last_outcomes.is_empty() || breaker.state != "closed");
    }
    breakers
}

fn cut_samples(state: &State) -> Vec<CutSample> {
    let samples = state.cut_counts.iter();
    samples
        .map(|((bulkhead, destination, cause), count)| CutSample {
            bulkhead: bulkhead.clone(),
            destination: destination.clone(),
            reason: cause.name(),
            count: *count,
        })
        .collect()
}

pub(super) fn storage_of(state: &State) -> Result<OwnedFd, DaemonError> {
    let storage = state.kernel.socket_storage()?;
    storage
        .try_clone_to_owned()
        .map_err(|source| DaemonError::System { what: "keeping the socket storage open", source })
}

fn views(state: &State) -> BTreeMap<u32, BulkheadView> {
    let view = |live: &super::bulkheads::LiveBulkhead| {
        let stall_warn = state.cut_rules.stall_warn_seconds(live.id);
        let namespaces = live.network_namespaces();
        BulkheadView {
            pids: live.pids(),
            stall_warn_seconds: stall_warn,
            foreign_namespaces: namespaces.into_iter().filter(|n| !n.own).map(|n| n.pid).collect(),
        }
    };
    state.bulkheads.values().map(|live| (live.id, view(live))).collect()
}
