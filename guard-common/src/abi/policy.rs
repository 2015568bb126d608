//! What the daemon tells the kernel about destinations and its own mode.

use super::pod;

/// Decide, count and act.
pub const MODE_ENFORCE: u32 = 0;
/// Decide and count "would have"; touch nothing.
pub const MODE_MONITOR: u32 = 1;

/// Send an event for each successful connect, answered call and close too, not only for trouble.
pub const FLAG_VERBOSE_EVENTS: u32 = 1;
/// Some endpoint has no port, so a second look-up with port 0 is needed.
pub const FLAG_ANY_PORT_ENDPOINTS: u32 = 2;
/// Some breaker holds calls instead of refusing them: SYNs are looked at.
pub const FLAG_HOLDS: u32 = 4;
/// Some bulkhead under pressure refuses new connections.
pub const FLAG_PRESSURE: u32 = 0x100;
/// The calls of some bulkhead or service are paced.
pub const FLAG_PACING: u32 = 0x200;

/// Some service has a fallback or a gateway.
pub const FLAG_FALLBACKS: u32 = 0x400;

/// Some bulkhead lies inside another, or did: hooks look whose a socket is. Once set it stays.
pub const FLAG_NESTING: u32 = 0x1000;

/// Ports that no fault and no refusal ever touches, beside those of [`Control`].
pub const SSH_PORT: u16 = 22;

/// The daemon's switches: one entry, read by every hook.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// [`super::ABI_VERSION`] of the writer.
    pub abi_version: u32,
    /// [`MODE_ENFORCE`] or [`MODE_MONITOR`].
    pub mode: u32,
    /// `FLAG_*`.
    pub flags: u32,
    /// 0 = no fault is active anywhere: hooks skip all fault work.
    pub faults_active: u32,
    /// First port that the kernel gives to outgoing sockets; lower local ports belong to servers.
    pub ephemeral_port_low: u32,
    /// guard's metrics port (host order); never faulted. 0 = none.
    pub metrics_port: u32,
}

/// What the endpoint trie matches: an exact port (0 = any) followed by an address prefix.
/// The prefix length of an entry is [`ENDPOINT_PORT_BITS`] + the bits of the address prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndpointMatch {
    /// Port in network byte order; 0 = any port.
    pub port_be: u16,
    /// Zero.
    pub pad: u16,
    /// IPv6 address, or an IPv4 address mapped to `::ffff:a.b.c.d`, in network byte order.
    pub address: [u8; 16],
}

/// Bits of an [`EndpointMatch`] before the address.
pub const ENDPOINT_PORT_BITS: u32 = 32;

/// What an endpoint belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointValue {
    /// Service id.
    pub service: u32,
    /// Length of the address prefix in bits (0..=128), to compare two matches.
    pub address_bits: u32,
}

const _: () = {
    assert!(size_of::<Control>() == 24);
    assert!(size_of::<EndpointMatch>() == 20);
    assert!(core::mem::offset_of!(EndpointMatch, address) == 4);
    assert!(size_of::<EndpointValue>() == 8);
};
pod!(Control, EndpointMatch, EndpointValue);
