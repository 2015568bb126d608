//! Fallbacks: which place of a service's list answers, written into the kernel before a breaker needs
//! it; who uses them, since when; and the way back.
//!
//! Data: the plan's lists → a connect to each place from time to time (`check`) → for each family the
//! first that answers → the kernel's map. Breakers redirect by themselves, also without guardd; what
//! guardd itself serves is used only while it renews its lease, so that a killed daemon leaves no
//! redirect to a dead port. Where no place answers, calls are refused as without a fallback.
//!
//! The state is never locked while a place is tried.

mod check;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use guard_common::abi::ids::PairKey;

use super::error::DaemonError;
use super::state::{Guard, State};
use crate::kernel::{KernelError, Place, Places};
use crate::observe::SharedIds;
use crate::plan::{Fallback, ServicePlan};
use crate::recovery::{ActionResult, Outcome};

/// How long what guardd serves is used without a sign of life of it.
const SERVING_LEASE: Duration = Duration::from_secs(2);

/// What is known of the fallbacks.
#[derive(Debug, Default)]
pub(crate) struct Fallbacks {
    /// Addresses that answered, by service, in the order of the plan; absent = never tried.
    answering: BTreeMap<String, Vec<SocketAddr>>,
    /// When a service was tried last.
    tried: BTreeMap<String, Instant>,
    /// Where guardd serves the files of a service.
    files_at: BTreeMap<String, SocketAddr>,
    /// Where guardd's gateway for a service listens.
    gateways: BTreeMap<String, Vec<SocketAddr>>,
    /// What the operator or a recovery has said: `true` = use it in any case, `false` = never. Kept by
    /// a reload, forgotten by a restart and with the service.
    switched: BTreeMap<String, bool>,
    /// Pairs that use theirs.
    active: BTreeMap<PairKey, seen::Active>,
    /// What it came to, by bulkhead and service.
    totals: BTreeMap<(String, String), seen::Total>,
    /// Pairs whose connections to the fallback go as they become idle, until then.
    leaving: BTreeMap<PairKey, Instant>,
    /// When those were looked for last.
    looked: Option<Instant>,
    /// Whether the kernel's map is ours: before, an earlier life's is at work.
    written: bool,
}

impl Guard {
    /// Where guardd serves the files of a service's `static:` fallback; `None` = no more.
    pub(crate) fn set_fallback_address(
        &self,
        service: &str,
        address: Option<SocketAddr>,
    ) -> Result<(), DaemonError> {
        let mut state = self.lock();
        match address {
            Some(address) => state.fallbacks.files_at.insert(service.to_owned(), address),
            None => state.fallbacks.files_at.remove(service),
        };
        state.write_fallbacks(&self.ids)?;
        state.write_control()
    }

    /// Where guardd's gateway for a service listens (at most one address of each family); empty = it
    /// has none, and calls go straight to the service.
    pub(crate) fn set_gateway_addresses(
        &self,
        service: &str,
        addresses: Vec<SocketAddr>,
    ) -> Result<(), DaemonError> {
        let mut state = self.lock();
        if addresses.is_empty() {
            state.fallbacks.gateways.remove(service);
        } else {
            state.fallbacks.gateways.insert(service.to_owned(), addresses);
        }
        state.write_fallbacks(&self.ids)?;
        state.write_control()
    }

    /// Switches the fallback of a service: on = it is used whatever the breaker says, off = never,
    /// both until the other, or [`Guard::unswitch_fallback`], or a restart of guardd.
    pub(crate) fn switch_fallback(&self, service: &str, on: bool) -> Outcome {
        let begin = Instant::now();
        let (result, message) = self.try_switch(service, Some(on));
        Outcome { result, message, took: begin.elapsed() }
    }

    /// The breaker decides again.
    pub(crate) fn unswitch_fallback(&self, service: &str) -> Outcome {
        let begin = Instant::now();
        let (result, message) = self.try_switch(service, None);
        Outcome { result, message, took: begin.elapsed() }
    }

    fn try_switch(&self, service: &str, to: Option<bool>) -> (ActionResult, String) {
        let mut state = self.lock();
        if state.plan.service(service).is_none_or(|plan| plan.fallback.places.is_empty()) {
            let message = format!(
                "service {service} has no fallback: add `fallback` to [services.{service}]"
            );
            return (ActionResult::Failed, message);
        }
        if state.monitor() {
            return (ActionResult::WouldHave, "monitor mode redirects nothing".to_owned());
        }
        let before = state.fallbacks.switched.get(service).copied();
        state.fallbacks.switch(service, to);
        if to == Some(true) && state.places_of(service).refused.is_none() {
            state.fallbacks.switch(service, before);
            let message = format!("no fallback of service {service} answers: nothing was switched");
            return (ActionResult::Failed, message);
        }
        if let Err(error) = state.write_fallbacks(&self.ids) {
            return (ActionResult::Failed, error.to_string());
        }
        self.follow_fallbacks(&mut state);
        let message = match to {
            Some(true) => format!("all calls to {service} go to its fallback"),
            Some(false) => format!("the fallback of {service} is not used"),
            None => format!("the breaker decides when the fallback of {service} is used"),
        };
        drop(state);
        tracing::warn!(service, "{message}");
        (ActionResult::Done, message)
    }
}

impl Fallbacks {
    fn switch(&mut self, service: &str, to: Option<bool>) {
        match to {
            Some(on) => self.switched.insert(service.to_owned(), on),
            None => self.switched.remove(service),
        };
    }
}

impl State {
    /// Whether any service has a place to redirect calls to.
    pub(super) fn has_fallbacks(&self) -> bool {
        !self.fallbacks.gateways.is_empty()
            || self.plan.services.iter().any(|service| !service.fallback.places.is_empty())
    }

    /// Where else than to itself packets of calls to a service go, which count as its own: guardd's
    /// gateway. `None` = any service.
    pub(super) fn redirected_to(&self, service: Option<&str>) -> Option<IpAddr> {
        let is_meant = |plan: &&ServicePlan| service.is_none_or(|name| plan.name == name);
        let mut services = self.plan.services.iter().filter(is_meant);
        services.any(|plan| plan.gateway.is_some()).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Whether calls to a service go through a gateway of guardd's.
    pub(super) fn has_gateway(&self, service: &str) -> bool {
        self.fallbacks.gateways.contains_key(service) && !self.monitor()
    }

    /// Services whose gateway does not work.
    pub(super) fn gateway_lines(&self) -> Vec<String> {
        let missing = |plan: &&ServicePlan| {
            plan.gateway.is_some() && !self.fallbacks.gateways.contains_key(&plan.name)
        };
        let line = |plan: &ServicePlan| {
            format!("service {} has no gateway yet: calls go straight to it", plan.name)
        };
        self.plan.services.iter().filter(missing).map(line).collect()
    }

    /// What a service has now.
    fn places_of(&self, service: &str) -> Places {
        let known = &self.fallbacks;
        let plan = self.plan.service(service);
        let stale = plan.and_then(|plan| plan.gateway?.stale_if_error).is_some();
        let always = known.gateways.get(service).map(|addresses| Place {
            served: true,
            stale,
            ..place_of(addresses)
        });
        let switched = known.switched.get(service).copied();
        let Some(plan) = plan.filter(|_| switched != Some(false)) else {
            return Places { refused: None, always };
        };
        let answering = known.answering.get(service);
        let mut usable: Vec<SocketAddr> = Vec::new();
        let mut served = false;
        for place in &plan.fallback.places {
            match place {
                Fallback::Address(address) => {
                    let answers = answering.is_some_and(|list| list.contains(address));
                    usable.extend(answers.then_some(*address));
                }
                // One place has one lease: what comes after the files is used only without them.
                Fallback::Static(_) if usable.is_empty() => {
                    let files = known.files_at.get(service).copied();
                    served = files.is_some();
                    usable.extend(files);
                }
                Fallback::Static(_) => {}
            }
            if served {
                break;
            }
        }
        let refused = (!usable.is_empty()).then(|| Place {
            forced: switched == Some(true),
            served,
            ..place_of(&usable)
        });
        Places { refused, always }
    }

    /// Writes the places of all services.
    pub(crate) fn write_fallbacks(&mut self, ids: &SharedIds) -> Result<(), DaemonError> {
        let names: BTreeSet<String> = self.plan.services.iter().map(|s| s.name.clone()).collect();
        let known = &mut self.fallbacks;
        known.switched.retain(|service, _| names.contains(service));
        known.answering.retain(|service, _| names.contains(service));
        known.tried.retain(|service, _| names.contains(service));
        let mut wanted = BTreeMap::new();
        for name in &names {
            let places = self.places_of(name);
            if places != Places::default() {
                let mut ids = ids.write().unwrap_or_else(PoisonError::into_inner);
                wanted.insert(ids.service(name), places);
            }
        }
        self.kernel.set_fallbacks(&wanted)?;
        self.fallbacks.written = true;
        self.serve().map_err(Into::into)
    }

    /// Renews the lease of what guardd serves, once the map is ours. Where only others serve, it tells
    /// the hooks no more than which network namespace is guardd's.
    fn serve(&mut self) -> Result<(), KernelError> {
        if !self.fallbacks.written || !self.has_fallbacks() {
            return Ok(());
        }
        let known = &self.fallbacks;
        let serves = !(known.files_at.is_empty() && known.gateways.is_empty());
        self.kernel.serve_for(if serves { SERVING_LEASE } else { Duration::ZERO })
    }

    /// guardd ends: what it serves is used no more, from the next connect on.
    pub(super) fn end_serving(&mut self) {
        if let Err(error) = self.kernel.serve_for(Duration::ZERO) {
            tracing::warn!(%error, "what guardd serves is used until its lease is over");
        }
    }
}

/// For each family the first that fits it, and where there is none, the first of the other: IPv6
/// sockets reach IPv4, unless they are IPv6 alone; IPv4 sockets do not reach IPv6, as the hooks know.
fn place_of(usable: &[SocketAddr]) -> Place {
    let first = |v4: bool| {
        let fits = |at: &&SocketAddr| at.ip().to_canonical().is_ipv4() == v4;
        usable.iter().find(fits).or(usable.first()).copied()
    };
    Place { v4: first(true), v6: first(false), ..Place::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_gets_the_first_that_fits() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (a, b, c) = (at("127.0.0.1:1"), at("[::1]:2"), at("127.0.0.1:3"));
        let both = place_of(&[a, b, c]);
        assert_eq!((both.v4, both.v6), (Some(a), Some(b)));
        let six_first = place_of(&[b, c]);
        assert_eq!((six_first.v4, six_first.v6), (Some(c), Some(b)));
        let four = place_of(&[c]);
        assert_eq!((four.v4, four.v6), (Some(c), Some(c)), "mapped");
        assert_eq!(place_of(&[]).v4, None);
    }
}
