//! Where connects go instead of to their service: written for the hooks, and what they remember of
//! those that did. Here nothing is decided.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aya::maps::{Array, HashMap, MapData};
use guard_common::abi::fallback::{
    AskedFor, AskedKey, FALLBACK_FORCED, FALLBACK_LOCAL, FALLBACK_ON, FALLBACK_SERVED,
    FALLBACK_STALE, FallbackPolicy, FallbackTarget, Serving,
};

use super::clock::boottime_ns;
use super::error::KernelError;
use super::load::Kernel;
use super::netns;
use super::policy::map_address;

/// Maps of redirects.
pub(super) struct Fallbacks {
    pub(super) policies: HashMap<MapData, u32, FallbackPolicy>,
    pub(super) serving: Array<MapData, Serving>,
    pub(super) asked: Asking,
    /// Cookie of guardd's network namespace; 0 = unknown.
    pub(super) netns: u64,
}

/// Tells what redirected connections asked for. It needs no lock of anybody's.
#[derive(Clone)]
pub struct Asking(Arc<HashMap<MapData, AskedKey, AskedFor>>);

/// One place to go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// For sockets that want an IPv4 address.
    pub v4: Option<SocketAddr>,
    /// For sockets that want an IPv6 address.
    pub v6: Option<SocketAddr>,
    /// Used whatever the breaker says.
    pub forced: bool,
    /// guardd itself answers there: used only while [`Kernel::serve_for`] says so.
    pub served: bool,
    /// It is a gateway that takes calls which the breaker refuses, too.
    pub stale: bool,
}

/// Both places of a service; `None` = there is none now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Instead of a refusal by the breaker.
    pub refused: Option<Place>,
    /// Always: guardd's gateway.
    pub always: Option<Place>,
}

/// What the client of a redirected connection asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The address that it gave to connect().
    pub destination: SocketAddr,
    /// Bulkhead id.
    pub bulkhead: u32,
    /// Service id.
    pub service: u32,
    /// Whether the breaker has refused the call: the service must not be asked.
    pub refused: bool,
}

impl Place {
    fn target(&self) -> FallbackTarget {
        let address = |at: Option<SocketAddr>| at.map_or([0; 16], |at| map_address(at.ip()));
        let port = |at: Option<SocketAddr>| at.map_or(0, |at| u32::from(at.port()));
        let flag = |on: bool, flag| if on { flag } else { 0 };
        let is_loopback = |at: SocketAddr| at.ip().to_canonical().is_loopback();
        // One flag for both addresses: where one of them is of this namespace alone, both are.
        let local = [self.v4, self.v6].into_iter().flatten().any(is_loopback);
        FallbackTarget {
            v6: address(self.v6),
            v4: address(self.v4),
            v6_port: port(self.v6),
            v4_port: port(self.v4),
            flags: FALLBACK_ON
                | flag(self.forced, FALLBACK_FORCED)
                | flag(self.served, FALLBACK_SERVED)
                | flag(local, FALLBACK_LOCAL)
                | flag(self.stale, FALLBACK_STALE),
            pad: 0,
        }
    }
}

impl Kernel {
    /// Makes the places equal to `wanted`, by service id. Connections that stand are not touched.
    pub fn set_fallbacks(&mut self, wanted: &BTreeMap<u32, Places>) -> Result<(), KernelError> {
        let map = &mut self.fallbacks.policies;
        let old: BTreeSet<u32> = map
            .keys()
            .collect::<Result<_, _>>()
            .map_err(KernelError::map("FALLBACKS", "listing"))?;
        let target = |place: Option<Place>| place.map(|place| place.target()).unwrap_or_default();
        for (service, places) in wanted {
            let policy =
                FallbackPolicy { refused: target(places.refused), always: target(places.always) };
            map.insert(service, policy, 0).map_err(KernelError::map("FALLBACKS", "writing"))?;
        }
        for service in old.iter().filter(|service| !wanted.contains_key(service)) {
            map.remove(service).map_err(KernelError::map("FALLBACKS", "removing"))?;
        }
        Ok(())
    }

    /// Lets what guardd itself serves be used for `lease` from now on; zero = no more.
    pub fn serve_for(&mut self, lease: Duration) -> Result<(), KernelError> {
        let lease_ns = u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX);
        let until_ns = if lease_ns == 0 { 0 } else { boottime_ns().saturating_add(lease_ns) };
        let serving = Serving { until_ns, netns: self.fallbacks.netns };
        self.fallbacks.serving.set(0, serving, 0).map_err(KernelError::map("SERVING", "renewing"))
    }

    /// Whom to ask about redirected connections.
    pub fn asking(&self) -> Asking {
        self.fallbacks.asked.clone()
    }
}

impl Asking {
    pub(super) fn new(map: HashMap<MapData, AskedKey, AskedFor>) -> Self {
        Self(Arc::new(map))
    }

    /// What a redirected connection asked for, by the client's address as accept() gives it; `None`: it
    /// was not redirected, or its client has closed it.
    pub fn asked(&self, client: SocketAddr) -> Option<Asked> {
        let key = AskedKey { address: map_address(client.ip()), port: u32::from(client.port()) };
        // ENOENT is all that can be wrong.
        let asked = self.0.get(&key, 0).ok()?;
        let address = IpAddr::from(Ipv6Addr::from(asked.address)).to_canonical();
        Some(Asked {
            destination: SocketAddr::new(address, asked.port as u16),
            bulkhead: asked.bulkhead,
            service: asked.service,
            refused: asked.refused != 0,
        })
    }
}

/// Cookie of guardd's network namespace; 0 if the kernel does not tell.
pub(super) fn own_netns() -> u64 {
    netns::cookie().unwrap_or_else(|error| {
        tracing::warn!(%error, "agents of other network namespaces are not told from those of this one");
        0
    })
}
