//! Gateways of services: one for each service that has one, with a listener of each family.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Running, Serving, Troubles};
use crate::gateway::{Counters, End, Gateway, Options, Policies, Reason, serve};
use crate::plan::{NETWORK_ERROR, Plan, RATE_LIMIT, RetryPolicyPlan, ServicePlan};
use crate::telemetry::metrics::GatewaySample;

/// Those that run, by service.
#[derive(Default)]
pub(super) struct Served {
    running: BTreeMap<String, (Options, Running)>,
    troubles: Troubles,
}

/// What gateways did in this life of guardd, by service.
#[derive(Debug, Default)]
pub(crate) struct GatewayBook(Mutex<BTreeMap<String, Arc<Counters>>>);

impl GatewayBook {
    fn of(&self, service: &str) -> Arc<Counters> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(service.to_owned()).or_default())
    }

    /// For `/metrics`; `usable` = whether the kernel sends calls to the gateway of a service.
    pub(crate) fn samples(&self, usable: impl Fn(&str) -> bool) -> Vec<GatewaySample> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sample = |(destination, counters): (&String, &Arc<Counters>)| GatewaySample {
            destination: destination.clone(),
            usable: usable(destination),
            requests: End::ALL.map(|end| (end.name(), counters.requests(end))).to_vec(),
            retries: Reason::ALL.map(|why| (why.name(), counters.retries(why))).to_vec(),
            connections: counters.open(),
            passed: counters.passed(),
            refused: counters.refused(),
        };
        all.iter().map(sample).collect()
    }
}

/// Those to run.
pub(super) fn wanted(plan: &Plan) -> BTreeMap<String, Options> {
    let policy = |name: &str| {
        let built_in = || RetryPolicyPlan::built_in().into_iter().find(|p| p.name == name);
        plan.retry_policy(name).cloned().or_else(built_in)
    };
    let of = |service: &ServicePlan| {
        let options = Options {
            protocol: service.protocol,
            plan: service.gateway?,
            policies: Policies {
                network_error: policy(NETWORK_ERROR)?,
                rate_limit: policy(RATE_LIMIT)?,
            },
            budget: plan.limits.retry_budget,
            hygiene: plan.hygiene_of(&service.name),
        };
        Some((service.name.clone(), options))
    };
    plan.services.iter().filter_map(of).collect()
}

impl Serving {
    pub(super) fn serve_gateways(&mut self, wanted: &BTreeMap<String, Options>) {
        let gone = |service: &&String| !wanted.contains_key(*service);
        let gone: Vec<String> = self.gateways.running.keys().filter(gone).cloned().collect();
        for service in gone {
            self.tell_gateway(&service, Vec::new());
            if let Some((_, running)) = self.gateways.running.remove(&service) {
                self.retire(running);
            }
        }
        self.gateways.troubles.0.retain(|service, _| wanted.contains_key(service));
        for (service, options) in wanted {
            let now = self.gateways.running.get(service);
            if now.is_some_and(|(old, running)| old == options && running.goes_on()) {
                continue;
            }
            match self.start_gateway(service, options) {
                Ok(running) => {
                    self.gateways.troubles.end(service);
                    let running = (options.clone(), running);
                    // Only now: the kernel sends nobody to the old one any more.
                    if let Some((_, old)) = self.gateways.running.insert(service.clone(), running) {
                        self.retire(old);
                    }
                }
                Err(error) if self.gateways.troubles.add(service, error.to_string()) => {
                    tracing::warn!(service, %error, "no gateway: calls go straight to the service");
                    self.guard.events.note("gateway_down", |event| {
                        event.service.clone_from(service);
                        event.message =
                            format!("no gateway ({error}): calls go straight to the service");
                    });
                }
                Err(_) => {}
            }
        }
    }

    fn start_gateway(&self, service: &str, options: &Options) -> std::io::Result<Running> {
        let counters = self.guard.gateways.of(service);
        let lookup = Arc::clone(&self.lookup);
        let gateway = Gateway::new(service.to_owned(), options.clone(), lookup, counters);
        let gateway = Arc::new(gateway);
        let on = [(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()];
        let (running, addresses) =
            self.start(&on, |listener, stop| serve(listener, Arc::clone(&gateway), stop))?;
        tracing::info!(service, ?addresses, "the gateway takes calls");
        self.tell_gateway(service, addresses);
        Ok(running)
    }

    /// Tells the kernel where the gateway of a service is.
    fn tell_gateway(&self, service: &str, addresses: Vec<SocketAddr>) {
        if let Err(error) = self.guard.set_gateway_addresses(service, addresses) {
            tracing::error!(service, %error, "the kernel does not know where the gateway is");
        }
    }
}
