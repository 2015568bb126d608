//! Endpoints of services as the kernel gets them: addresses of the configuration, and the
//! addresses that names resolve to. An address that a name no longer has stays as long as a
//! socket uses it, so that a pooled connection keeps its service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::error::DaemonError;
use super::state::State;
use crate::kernel::EndpointRule;
use crate::observe::SharedIds;
use crate::plan::{EndpointHost, Plan, ServicePlan};

/// How long an old address stays after it was last seen in use.
const KEEP_OLD: Duration = Duration::from_mins(1);

/// Addresses of names.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    names: BTreeMap<String, Addresses>,
}

#[derive(Debug, Default)]
struct Addresses {
    current: BTreeSet<IpAddr>,
    /// Addresses that the name had, and when they were last seen in use.
    old: BTreeMap<IpAddr, Instant>,
    /// Why the name does not resolve, if so.
    problem: Option<String>,
}

impl Resolved {
    /// Takes the new addresses of a name.
    pub(crate) fn update(&mut self, name: &str, addresses: &[IpAddr]) {
        let entry = self.names.entry(name.to_owned()).or_default();
        let new: BTreeSet<_> = addresses.iter().copied().collect();
        let now = Instant::now();
        for gone in entry.current.difference(&new) {
            entry.old.insert(*gone, now);
        }
        entry.old.retain(|address, _| !new.contains(address));
        entry.current = new;
        entry.problem = None;
    }

    /// Notes that a name does not resolve; its addresses stay.
    pub(crate) fn failed(&mut self, name: &str, why: String) {
        self.names.entry(name.to_owned()).or_default().problem = Some(why);
    }

    /// Notes that a name resolves again, to the addresses it had.
    pub(crate) fn recovered(&mut self, name: &str) {
        if let Some(addresses) = self.names.get_mut(name) {
            addresses.problem = None;
        }
    }

    /// Names that do not resolve, and why.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().filter_map(|(name, a)| Some((name.as_str(), a.problem.as_deref()?)))
    }

    /// Whether any address is kept for old connections only.
    pub(crate) fn has_old(&self) -> bool {
        self.names.values().any(|addresses| !addresses.old.is_empty())
    }

    /// Forgets old addresses that no socket has used for a while. True if any was forgotten.
    pub(crate) fn forget_unused(&mut self, in_use: &BTreeSet<IpAddr>) -> bool {
        let now = Instant::now();
        let mut forgotten = false;
        for addresses in self.names.values_mut() {
            for (address, last_used) in &mut addresses.old {
                if in_use.contains(address) {
                    *last_used = now;
                }
            }
            let before = addresses.old.len();
            addresses.old.retain(|_, last_used| now.duration_since(*last_used) < KEEP_OLD);
            forgotten |= addresses.old.len() != before;
        }
        forgotten
    }

    /// Forgets names that no service has any more.
    pub(crate) fn keep_names(&mut self, names: &BTreeSet<String>) {
        self.names.retain(|name, _| names.contains(name));
    }

    /// Single addresses of one endpoint's host, as they are now; none of a network.
    pub(crate) fn current(&self, host: &EndpointHost) -> Vec<IpAddr> {
        match host {
            EndpointHost::Net(net) if net.prefix_len() == net.max_prefix_len() => vec![net.addr()],
            EndpointHost::Net(_) => Vec::new(),
            EndpointHost::Name(name) => {
                self.names.get(name).map_or_else(Vec::new, |a| a.current.iter().copied().collect())
            }
        }
    }

    /// Networks of one endpoint's host.
    fn nets(&self, host: &EndpointHost) -> Vec<IpNet> {
        match host {
            EndpointHost::Net(net) => vec![*net],
            EndpointHost::Name(name) => self.names.get(name).map_or_else(Vec::new, |addresses| {
                addresses
                    .current
                    .iter()
                    .chain(addresses.old.keys())
                    .map(|a| IpNet::from(*a))
                    .collect()
            }),
        }
    }

    /// Every network of a service.
    pub(crate) fn service_nets(&self, service: &ServicePlan) -> Vec<IpNet> {
        service.endpoints.iter().flat_map(|endpoint| self.nets(&endpoint.host)).collect()
    }
}

/// Whether an endpoint of the plan stands for any port.
pub(crate) fn has_any_port(plan: &Plan) -> bool {
    plan.services.iter().flat_map(|s| &s.endpoints).any(|endpoint| endpoint.port.is_none())
}

/// Host names of a plan.
pub(crate) fn names(plan: &Plan) -> BTreeSet<String> {
    let endpoints = plan.services.iter().flat_map(|service| &service.endpoints);
    endpoints
        .filter_map(|endpoint| match &endpoint.host {
            EndpointHost::Name(name) => Some(name.clone()),
            EndpointHost::Net(_) => None,
        })
        .collect()
}

impl State {
    /// Takes the addresses that an earlier guardd had for a service as those of its host names, so
    /// that they keep their service until the names resolve again.
    pub(crate) fn learn_addresses(&mut self, ids: &SharedIds) -> Result<(), DaemonError> {
        let known = self.kernel.endpoint_addresses()?;
        for service in &self.plan.services {
            let id = ids.write().unwrap_or_else(PoisonError::into_inner).service(&service.name);
            let literal = |address: &IpAddr| {
                service.endpoints.iter().any(|endpoint| match &endpoint.host {
                    EndpointHost::Net(net) => *net == IpNet::from(*address),
                    EndpointHost::Name(_) => false,
                })
            };
            let addresses: Vec<IpAddr> = known
                .iter()
                .filter(|(service, address)| *service == id && !literal(address))
                .map(|(_, address)| *address)
                .collect();
            let names = service.endpoints.iter().filter_map(|endpoint| match &endpoint.host {
                EndpointHost::Name(name) => Some(name),
                EndpointHost::Net(_) => None,
            });
            for name in names.filter(|_| !addresses.is_empty()) {
                self.resolved.update(name, &addresses);
            }
        }
        Ok(())
    }

    /// Writes the endpoints and protected addresses of plan and names to the kernel.
    pub(crate) fn write_endpoints(&mut self, ids: &SharedIds) -> Result<(), DaemonError> {
        let mut rules = Vec::new();
        {
            let mut ids = ids.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            for service in &self.plan.services {
                let id = ids.service(&service.name);
                for endpoint in &service.endpoints {
                    let nets = self.resolved.nets(&endpoint.host);
                    rules.extend(nets.into_iter().map(|net| EndpointRule {
                        net,
                        port: endpoint.port,
                        service: id,
                    }));
                }
            }
        }
        self.kernel.set_endpoints(&rules)?;
        self.kernel.set_protected(&self.plan.daemon.protected).map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_address_stays_while_it_is_used() {
        let (a, b): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap());
        let host = EndpointHost::Name("api".into());
        let mut resolved = Resolved::default();
        resolved.update("api", &[a]);
        resolved.update("api", &[b]);
        assert_eq!(resolved.nets(&host).len(), 2);
        assert!(resolved.has_old());
        // In use, or not yet unused for long enough: it stays.
        assert!(!resolved.forget_unused(&BTreeSet::from([a])));
        assert!(!resolved.forget_unused(&BTreeSet::new()));
        assert_eq!(resolved.nets(&host).len(), 2);
        // It comes back: it is current again, and not old.
        resolved.update("api", &[a, b]);
        assert!(!resolved.has_old());
    }

    #[test]
    fn a_failure_keeps_the_addresses() {
        let mut resolved = Resolved::default();
        resolved.update("api", &["127.0.0.1".parse().unwrap()]);
        resolved.failed("api", "SERVFAIL".into());
        assert_eq!(resolved.nets(&EndpointHost::Name("api".into())).len(), 1);
        assert_eq!(resolved.problems().collect::<Vec<_>>(), [("api", "SERVFAIL")]);
        resolved.keep_names(&BTreeSet::new());
        assert_eq!(resolved.problems().count(), 0);
    }
}
