//! Where connects of a service go instead of to the service itself.

use super::pod;

/// Calls go there while the breaker refuses them.
pub const FALLBACK_ON: u32 = 1;
/// All calls go there, whatever the breaker says: the operator or a recovery has switched it on.
pub const FALLBACK_FORCED: u32 = 2;
/// guardd itself answers there: only while [`Serving`] says so.
pub const FALLBACK_SERVED: u32 = 4;

/// It is a loopback address: only for sockets of the network namespace that [`Serving`] names. In
/// another the same address is another host's.
pub const FALLBACK_LOCAL: u32 = 8;
/// Of a gateway: it has something to give to calls that the breaker refuses, too.
pub const FALLBACK_STALE: u32 = 16;

/// What holds for the addresses that guardd itself serves: the one entry of the map `SERVING`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// Until when they may be used (boottime ns; 0 = not at all). A daemon that is killed, stopped or
    /// hung lets it run out.
    pub until_ns: u64,
    /// Cookie of guardd's network namespace; 0 = unknown, and every namespace passes for it.
    pub netns: u64,
}

/// One place to go to. An address that is all zero is none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FallbackTarget {
    /// For IPv6 sockets that want an IPv6 address: IPv6, network byte order. IPv4 is mapped.
    pub v6: [u8; 16],
    /// For those that want an IPv4 address: mapped IPv4. From an IPv4 socket nothing else can be
    /// reached, and there an address that is not IPv4 is none.
    pub v4: [u8; 16],
    /// Port of `v6`, host order.
    pub v6_port: u32,
    /// Port of `v4`, host order.
    pub v4_port: u32,
    /// `FALLBACK_*`; 0 = it is not used.
    pub flags: u32,
    /// Zero.
    pub pad: u32,
}

/// What the map `FALLBACKS` says of a service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FallbackPolicy {
    /// Instead of a refusal. What is answered there never judges the service.
    pub refused: FallbackTarget,
    /// Of calls that the breaker admits: guardd's gateway, which asks the service in the agent's place.
    /// Answers count as the service's. With [`FALLBACK_STALE`] also of those that the breaker refuses
    /// and for which `refused` has no place: what it gives them judges nothing.
    pub always: FallbackTarget,
}

/// A connection that guardd's gateway may ask about: by the agent's own address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AskedKey {
    /// Address of the agent's end; IPv4 is mapped.
    pub address: [u8; 16],
    /// Its port, host order.
    pub port: u32,
}

/// What the agent asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskedFor {
    /// Address; IPv4 is mapped.
    pub address: [u8; 16],
    /// Port, host order.
    pub port: u32,
    /// Bulkhead id.
    pub bulkhead: u32,
    /// Service id.
    pub service: u32,
    /// 1 = the breaker has refused the call: the service must not be asked.
    pub refused: u32,
}

const _: () = {
    assert!(size_of::<Serving>() == 16);
    assert!(size_of::<FallbackTarget>() == 48);
    assert!(size_of::<FallbackPolicy>() == 96);
    assert!(size_of::<AskedKey>() == 20);
    assert!(size_of::<AskedFor>() == 32);
};
pod!(Serving, FallbackTarget, FallbackPolicy, AskedKey, AskedFor);
