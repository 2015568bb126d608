//! The gateway of one service: what it was told, what its connections share, and which of them goes
//! where.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::accept::{Stop, accept};
use super::cache::Cache;
use super::counters::Counters;
use super::limits::BULKHEAD_CONNECTIONS_MAX;
use super::retry::{Budget, Policies, Reason};
use super::sniff::{Speaks, sniff};
use super::wire::Wire;
use super::{Lookup, passthrough, session};
use crate::plan::{GatewayPlan, HygienePlan, Protocol, RetryBudgetPlan};

/// What a gateway shall do.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What the service speaks.
    pub protocol: Protocol,
    /// What the operator says of it.
    pub plan: GatewayPlan,
    /// How it tries again.
    pub policies: Policies,
    /// How often it may do so.
    pub budget: RetryBudgetPlan,
    /// Of its connections to the service.
    pub hygiene: HygienePlan,
}

/// The gateway of one service.
pub struct Gateway {
    pub(super) service: String,
    pub(super) options: Options,
    pub(super) lookup: Lookup,
    pub(super) counters: Arc<Counters>,
    cache: Option<Mutex<Cache>>,
    /// Bytes of bodies that may be kept once they are whole.
    pub(super) collecting: Arc<AtomicU64>,
    budget: Mutex<Budget>,
    open: Mutex<BTreeMap<u32, usize>>,
}

impl Gateway {
    /// One that has served nobody yet.
    pub fn new(service: String, options: Options, lookup: Lookup, counters: Arc<Counters>) -> Self {
        let budget = Mutex::new(Budget::new(options.budget, Instant::now()));
        let cache = |grace| Mutex::new(Cache::new(options.plan.cache_bytes_max, grace));
        Self {
            cache: options.plan.stale_if_error.map(cache),
            service,
            options,
            lookup,
            counters,
            collecting: Arc::default(),
            budget,
            open: Mutex::default(),
        }
    }

    /// The kept answers, if any are kept.
    pub(super) fn cache(&self) -> Option<MutexGuard<'_, Cache>> {
        self.cache.as_ref().map(|cache| cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The delay before retry `attempt` (from 0), if policy, budget and the time left allow one; counts
    /// it.
    pub(super) fn delay(
        &self,
        reason: Reason,
        attempt: u32,
        retry_after: Option<Duration>,
        deadline: Instant,
    ) -> Option<Duration> {
        let seed = rand::random();
        let delay = self.options.policies.delay(reason, attempt, retry_after, seed)?;
        if Instant::now() + delay >= deadline || !self.budget().retry(Instant::now()) {
            return None;
        }
        self.counters.retry(reason);
        Some(delay)
    }

    /// A place for one more connection of a bulkhead.
    fn place(self: &Arc<Self>, bulkhead: u32) -> Option<PlaceTaken> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.entry(bulkhead).or_default();
        if *own >= BULKHEAD_CONNECTIONS_MAX {
            return None;
        }
        *own += 1;
        self.counters.open.fetch_add(1, Ordering::Relaxed);
        Some(PlaceTaken { gateway: Arc::clone(self), bulkhead })
    }
}

/// Serves a service's connections until `stop` says otherwise.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, stop: watch::Receiver<Stop>) {
    let each = |wire, stop| connection(wire, Arc::clone(&gateway), stop);
    accept(listener, &gateway.service, &stop, each, || gateway.counters.refuse()).await;
}

/// Finds out what a connection is, and brings it to whoever serves it.
async fn connection(mut wire: Wire, gateway: Arc<Gateway>, stop: watch::Receiver<Stop>) {
    let Some(asked) = wire.client().and_then(|client| (gateway.lookup)(client)) else {
        tracing::debug!(service = gateway.service, "not redirected by guard: reset");
        return wire.reset();
    };
    let Some(_place) = gateway.place(asked.bulkhead) else {
        gateway.counters.refuse();
        return wire.reset();
    };
    match sniff(&mut wire, gateway.options.protocol).await {
        Speaks::Http => session::serve(wire, gateway, asked, stop).await,
        // The breaker keeps it from the service, and there is nothing else to give it.
        _ if asked.refused => wire.reset(),
        _ => passthrough::pass(&gateway, wire, asked.destination).await,
    }
}

/// One connection's place.
struct PlaceTaken {
    gateway: Arc<Gateway>,
    bulkhead: u32,
}

impl Drop for PlaceTaken {
    fn drop(&mut self) {
        let gateway = &self.gateway;
        gateway.counters.open.fetch_sub(1, Ordering::Relaxed);
        let mut open = gateway.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.bulkhead) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                open.remove(&self.bulkhead);
            }
        }
    }
}
