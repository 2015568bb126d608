//! Addresses and networks. IPv4 in IPv6 clothing (`::ffff:192.0.2.1`) becomes IPv4, because that
//! is how the kernel side sees it.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::{Problem, shown};

/// Reads `192.0.2.1`, `10.0.0.0/8`, `2001:db8::1`, `2001:db8::/32` (no brackets, no port).
/// `None` if it does not look like an address at all.
pub(crate) fn parse(text: &str) -> Option<Result<IpNet, Problem>> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = match address.parse() {
        Ok(address) => address,
        Err(_) if prefix.is_some() => return Some(Err(not_a_network(text))),
        Err(_) => return None,
    };
    let Some(prefix) = prefix else {
        return Some(Ok(unmapped(IpNet::from(address))));
    };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
    let Some(length) = prefix.parse::<u8>().ok().filter(|n| digits && *n <= bits) else {
        return Some(Err(Problem::new(
            format!("has a bad prefix length `/{}`", shown(prefix)),
            "bad prefix length",
            format!("write /0 to /{bits}"),
        )));
    };
    // The length was checked against the family just above, so this cannot fail.
    let net = IpNet::new(address, length).ok()?;
    if net.trunc() != net {
        return Some(Err(Problem::new(
            format!("has bits set beyond its prefix length: \"{}\"", shown(text)),
            "host bits set",
            format!(
                "write \"{}\" for the network, or \"{address}\" for the one address",
                net.trunc()
            ),
        )));
    }
    Some(Ok(unmapped(net)))
}

/// The network that an address with host bits lies in; `None` if the text is no such thing.
pub(crate) fn without_host_bits(text: &str) -> Option<IpNet> {
    let net: IpNet = text.parse().ok()?;
    (net.trunc() != net).then(|| unmapped(net.trunc()))
}

fn not_a_network(text: &str) -> Problem {
    Problem::new(
        format!("is not a network: \"{}\"", shown(text)),
        "not a network",
        "write an address and a prefix length, such as \"10.0.0.0/8\"; host names have no prefix",
    )
}

fn unmapped(net: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6.addr().to_ipv4_mapped().filter(|_| v6.prefix_len() >= MAPPED_BITS);
    mapped
        .and_then(|v4| Ipv4Net::new(v4, v6.prefix_len() - MAPPED_BITS).ok())
        .map_or(net, IpNet::V4)
}

/// Reads an entry of `daemon.protected`.
pub(crate) fn parse_protected(text: &str) -> Result<IpNet, Problem> {
    if let Some(result) = parse(text) {
        return result;
    }
    let bare = text.trim_start_matches('[').split(']').next().unwrap_or(text);
    let bare = if bare.parse::<Ipv6Addr>().is_ok() || bare.contains('/') {
        bare
    } else {
        bare.split(':').next().unwrap_or(bare)
    };
    let help = match parse(bare) {
        Some(Ok(net)) => format!("write \"{}\": protection covers every port", display(&net)),
        _ => "write addresses or networks, such as \"169.254.169.254\" or \"10.0.0.0/8\"; host \
              names are not resolved here"
            .into(),
    };
    Err(Problem::new(
        format!("is not an address or a network: \"{}\"", shown(text)),
        "not an address",
        help,
    ))
}

/// A single address without its prefix length, a network with it.
pub(crate) fn display(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}
