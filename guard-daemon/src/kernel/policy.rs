//! Writes what the plan says: the daemon's switches, endpoints, protected addresses.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};

use aya::maps::lpm_trie::Key;
use guard_common::abi::ABI_VERSION;
use guard_common::abi::policy::{
    Control, ENDPOINT_PORT_BITS, EndpointMatch, EndpointValue, FLAG_NESTING,
};
use ipnet::IpNet;

use super::error::KernelError;
use super::load::Kernel;

/// One endpoint with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointRule {
    /// Address or network.
    pub net: IpNet,
    /// Port; `None` = any.
    pub port: Option<u16>,
    /// Service id.
    pub service: u32,
}

/// An address as the kernel side has it: IPv6, or IPv4 mapped into it.
pub fn map_address(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Address bits of a network, counted as IPv6.
fn mapped_bits(net: IpNet) -> u32 {
    u32::from(net.prefix_len()) + if matches!(net, IpNet::V4(_)) { 96 } else { 0 }
}

impl EndpointRule {
    fn key(&self) -> Key<EndpointMatch> {
        let what = EndpointMatch {
            port_be: self.port.unwrap_or(0).to_be(),
            pad: 0,
            address: map_address(self.net.network()),
        };
        Key::new(ENDPOINT_PORT_BITS + mapped_bits(self.net), what)
    }
}

/// A trie key as plain data, to compare sets.
fn endpoint_parts(key: &Key<EndpointMatch>) -> (u32, EndpointMatch) {
    (key.prefix_len(), key.data())
}

impl Kernel {
    /// Writes the switches. [`FLAG_NESTING`] stays once it is there: sockets may be left of it.
    pub fn set_control(&mut self, control: Control) -> Result<(), KernelError> {
        let before = self.control.get(&0, 0).map_err(KernelError::map("CONTROL", "reading"))?;
        let flags = control.flags | (before.flags & FLAG_NESTING);
        let control = Control { abi_version: ABI_VERSION, flags, ..control };
        self.control.set(0, control, 0).map_err(KernelError::map("CONTROL", "writing"))
    }

    /// Adds a flag to the switches that are in force.
    pub(super) fn raise(&mut self, flag: u32) -> Result<(), KernelError> {
        let before = self.control.get(&0, 0).map_err(KernelError::map("CONTROL", "reading"))?;
        if before.flags & flag != 0 {
            return Ok(());
        }
        self.control
            .set(0, Control { flags: before.flags | flag, ..before }, 0)
            .map_err(KernelError::map("CONTROL", "writing"))
    }

    /// Makes the endpoint trie equal to `rules`: first what is new, then what is gone, so that no
    /// destination is without its service in between.
    pub fn set_endpoints(&mut self, rules: &[EndpointRule]) -> Result<(), KernelError> {
        let capacity = self.options.endpoints as usize;
        if rules.len() > capacity {
            return Err(KernelError::Full { what: "endpoints", wanted: rules.len(), capacity });
        }
        let wanted: HashMap<_, _> =
            rules.iter().map(|rule| (endpoint_parts(&rule.key()), *rule)).collect();
        let old: Vec<_> = self
            .endpoints
            .keys()
            .collect::<Result<_, _>>()
            .map_err(KernelError::map("ENDPOINTS", "listing"))?;
        for rule in wanted.values() {
            let value =
                EndpointValue { service: rule.service, address_bits: mapped_bits(rule.net) };
            self.endpoints
                .insert(&rule.key(), value, 0)
                .map_err(KernelError::map("ENDPOINTS", "writing"))?;
        }
        for key in old.iter().filter(|key| !wanted.contains_key(&endpoint_parts(key))) {
            self.endpoints.remove(key).map_err(KernelError::map("ENDPOINTS", "removing"))?;
        }
        Ok(())
    }

    /// Single addresses in the endpoint trie, with their services: also those that host names had
    /// when an earlier life resolved them.
    pub fn endpoint_addresses(&self) -> Result<Vec<(u32, IpAddr)>, KernelError> {
        let mut all = Vec::new();
        for entry in &self.endpoints {
            let (key, value) = entry.map_err(KernelError::map("ENDPOINTS", "listing"))?;
            if key.prefix_len() == ENDPOINT_PORT_BITS + 128 {
                let address = Ipv6Addr::from(key.data().address);
                all.push((value.service, IpAddr::from(address).to_canonical()));
            }
        }
        Ok(all)
    }

    /// Makes the trie of protected addresses equal to `nets`.
    pub fn set_protected(&mut self, nets: &[IpNet]) -> Result<(), KernelError> {
        /// Size of the map.
        const CAPACITY: usize = 4096;
        if nets.len() > CAPACITY {
            return Err(KernelError::Full {
                what: "protected addresses",
                wanted: nets.len(),
                capacity: CAPACITY,
            });
        }
        let wanted: HashSet<(u32, [u8; 16])> =
            nets.iter().map(|net| (mapped_bits(*net), map_address(net.network()))).collect();
        let old: Vec<Key<[u8; 16]>> = self
            .protected
            .keys()
            .collect::<Result<_, _>>()
            .map_err(KernelError::map("PROTECTED", "listing"))?;
        for (bits, address) in &wanted {
            self.protected
                .insert(&Key::new(*bits, *address), 1_u32, 0)
                .map_err(KernelError::map("PROTECTED", "writing"))?;
        }
        for key in old.iter().filter(|key| !wanted.contains(&(key.prefix_len(), key.data()))) {
            self.protected.remove(key).map_err(KernelError::map("PROTECTED", "removing"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_mapped() {
        let rule =
            EndpointRule { net: "10.1.0.0/16".parse().unwrap(), port: Some(443), service: 3 };
        let key = rule.key();
        assert_eq!(key.prefix_len(), 32 + 96 + 16);
        assert_eq!(key.data().port_be.to_ne_bytes(), [1, 0xbb]);
        assert_eq!(key.data().address[10..], [0xff, 0xff, 10, 1, 0, 0]);
    }
}
