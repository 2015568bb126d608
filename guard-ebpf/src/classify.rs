//! Which service a destination belongs to, and whether it is protected.

use guard_common::abi::ids::SERVICE_OTHER;
use guard_common::abi::policy::{
    Control, ENDPOINT_PORT_BITS, EndpointMatch, FLAG_ANY_PORT_ENDPOINTS, SSH_PORT,
};

use crate::maps;

/// An address in the form of `EndpointMatch::address`.
pub(crate) type Address = [u8; 16];

/// Bits of the prefix that maps IPv4 into IPv6.
const MAPPED_BITS: u32 = 96;

/// What a destination is.
#[derive(Clone, Copy)]
pub(crate) struct Destination {
    pub(crate) service: u32,
    pub(crate) protected: bool,
}

/// Maps an IPv4 address (network byte order, as the kernel hands it out) into IPv6.
#[inline(always)]
pub(crate) const fn mapped(ip4: u32) -> Address {
    from_words([0, 0, u32::from_be(0xffff), ip4])
}

/// An IPv6 address from the kernel's four words (network byte order).
#[inline(always)]
pub(crate) const fn from_words(words: [u32; 4]) -> Address {
    // SAFETY: same size, any bits valid.
    unsafe { core::mem::transmute(words) }
}

/// The kernel's four words of an address (network byte order).
#[inline(always)]
pub(crate) const fn words(address: Address) -> [u32; 4] {
    // SAFETY: same size, any bits valid.
    unsafe { core::mem::transmute(address) }
}

/// Two words, to compare addresses cheaply.
#[inline(always)]
pub(crate) const fn halves(address: Address) -> [u64; 2] {
    // SAFETY: same size, any bits valid.
    unsafe { core::mem::transmute(address) }
}

/// The address of [`halves`].
#[inline(always)]
pub(crate) const fn from_halves(halves: [u64; 2]) -> Address {
    // SAFETY: same size, any bits valid.
    unsafe { core::mem::transmute(halves) }
}

#[inline(always)]
const fn is_loopback(address: Address) -> bool {
    let [high, low] = halves(address);
    let v4 = is_mapped(address) && address[12] == 127;
    let v6 = high == 0 && low.to_be() == 1;
    v4 || v6
}

/// Classifies a destination: the longest prefix wins, and an exact port beats any port.
#[inline(always)]
pub(crate) fn destination(address: Address, port: u16) -> Destination {
    let [high, low] = halves(address);
    let answer = guard_classify(high, low, u32::from(port));
    Destination { service: answer as u32, protected: answer >> PROTECTED_AT != 0 }
}

/// Place of "protected" in what [`guard_classify`] answers; below it is the service.
const PROTECTED_AT: u32 = 32;

/// [`destination`] in plain numbers: the halves of the address and the port.
///
/// A global function: the verifier looks at it once, and not once for each way that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_classify(high: u64, low: u64, port: u32) -> u64 {
    let Some(control) = maps::control() else { return u64::from(SERVICE_OTHER) };
    let address = from_halves([high, low]);
    let port = port as u16;
    let what = EndpointMatch { port_be: port.to_be(), pad: 0, address };
    let (mut service, bits) = endpoint(what);
    if control.flags & FLAG_ANY_PORT_ENDPOINTS != 0 {
        let (any_service, any_bits) = endpoint(EndpointMatch { port_be: 0, ..what });
        if any_bits > bits {
            service = any_service;
        }
    }
    let protected = u64::from(is_protected(control, address, port));
    (protected << PROTECTED_AT) | u64::from(service)
}

/// The best endpoint for an address, as [`maps::endpoint`]. An IPv6 prefix that is shorter than the
/// mapping of IPv4 (`::/0`) does not mean IPv4.
#[inline(always)]
fn endpoint(what: EndpointMatch) -> (u32, u32) {
    let (service, bits) = maps::endpoint(ENDPOINT_PORT_BITS + 128, what);
    if bits <= MAPPED_BITS && is_mapped(what.address) {
        (SERVICE_OTHER, 0)
    } else {
        (service, bits)
    }
}

#[inline(always)]
pub(crate) const fn is_mapped(address: Address) -> bool {
    let [high, low] = halves(address);
    high == 0 && low.to_be() >> 32 == 0xffff
}

#[inline(always)]
fn is_protected(control: &Control, address: Address, port: u16) -> bool {
    port == SSH_PORT
        || (control.metrics_port != 0
            && u32::from(port) == control.metrics_port
            && is_loopback(address))
        || maps::is_protected_address(address)
}
