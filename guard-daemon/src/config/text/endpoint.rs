//! Endpoints of services: `host:port`, `host`, `192.0.2.1:443`, `10.1.0.0/16:8080`,
//! `[2001:db8::/32]:443`, `[::1]`.

use std::net::SocketAddr;

use super::{Problem, host, network, shown};
use crate::plan::{Endpoint, EndpointHost};

/// Reads an endpoint.
pub(crate) fn parse(text: &str) -> Result<Endpoint, Problem> {
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(url(text, scheme, rest));
    }
    if text.trim() != text || text.is_empty() {
        return Err(Problem::new(
            "has spaces around an endpoint, or an empty one",
            "empty, or spaces",
            format!("write \"{}\"", shown(text.trim())),
        ));
    }
    if let Some(rest) = text.strip_prefix('[') {
        return bracketed(text, rest);
    }
    if text.matches(':').count() > 1 {
        return Err(unbracketed(text));
    }
    let (host_part, port) = match text.rsplit_once(':') {
        Some((host_part, port)) => (host_part, Some(parse_port(port)?)),
        None => (text, None),
    };
    let host = match network::parse(host_part) {
        Some(net) => EndpointHost::Net(net.map_err(|p| whole(p, host_part, port))?),
        None => EndpointHost::Name(host::parse(host_part)?),
    };
    Ok(Endpoint { host, port })
}

fn bracketed(text: &str, rest: &str) -> Result<Endpoint, Problem> {
    let shape = "write \"[2001:db8::1]:443\" or \"[2001:db8::/32]\"";
    let Some((inside, after)) = rest.split_once(']') else {
        return Err(Problem::new("has an unclosed bracket", "`]` is missing", shape));
    };
    let port = match after.strip_prefix(':') {
        Some(port) => Some(parse_port(port)?),
        None if after.is_empty() => None,
        None => {
            return Err(Problem::new(
                format!("has `{}` after the bracket", shown(after)),
                "only a port may follow",
                shape,
            ));
        }
    };
    if inside.contains('%') {
        return Err(Problem::new(
            "has a zone",
            "`%` zones are not allowed",
            "write the address without its interface",
        ));
    }
    let is_v6 = inside.contains(':');
    match network::parse(inside) {
        Some(net) if is_v6 => {
            let net = net.map_err(|p| whole(p, inside, port))?;
            Ok(Endpoint { host: EndpointHost::Net(net), port })
        }
        _ => Err(Problem::new(
            format!("is not an IPv6 address or network: \"{}\"", shown(text)),
            "brackets are for IPv6",
            shape,
        )),
    }
}

/// A problem of the network part, with a cure for the whole endpoint.
fn whole(mut problem: Problem, network_part: &str, port: Option<u16>) -> Problem {
    if let Some(net) = network::without_host_bits(network_part) {
        let corrected = display(&Endpoint { host: EndpointHost::Net(net), port });
        problem.help = format!("write \"{corrected}\", or leave the `/` out for the one address");
    }
    problem
}

fn unbracketed(text: &str) -> Problem {
    if matches!(network::parse(text), Some(Ok(_))) {
        return Problem::new(
            "has an IPv6 address without brackets",
            "needs brackets",
            format!("write \"[{}]\", or \"[{0}]:443\" with a port", shown(text)),
        );
    }
    Problem::new(
        format!("is not an endpoint: \"{}\"", shown(text)),
        "too many colons",
        "write \"host:port\", or \"[address]:port\" for IPv6",
    )
}

fn parse_port(text: &str) -> Result<u16, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse::<u16>().ok().filter(|p| digits && *p > 0).ok_or_else(|| {
        Problem::new(
            format!("has a bad port `{}`", shown(text)),
            "bad port",
            "a port is 1 to 65535; leave it out, with its colon, for any port",
        )
    })
}

fn url(text: &str, scheme: &str, rest: &str) -> Problem {
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let port = match scheme {
        "https" | "wss" => ":443",
        "http" | "ws" => ":80",
        _ => "",
    };
    let meant = if parse(host).is_ok_and(|e| e.port.is_some()) {
        host.to_owned()
    } else {
        format!("{host}{port}")
    };
    let help = if parse(&meant).is_ok() {
        format!("write \"{}\"", shown(&meant))
    } else {
        "write \"host:port\"".into()
    };
    Problem::new(format!("is a URL, not an endpoint: \"{}\"", shown(text)), "a URL", help)
}

/// Reads an address with a port, as listeners and fallbacks need.
pub(crate) fn parse_socket_address(text: &str) -> Result<SocketAddr, Problem> {
    text.parse().map_err(|_| {
        let help = match parse(text) {
            Ok(Endpoint { host: EndpointHost::Name(_), .. }) => {
                "a host name cannot be used here: write its address, such as \"127.0.0.1:9729\""
            }
            Ok(Endpoint { port: None, .. }) => "the port is missing: write \"127.0.0.1:9729\"",
            _ => "write an address and a port, such as \"127.0.0.1:9729\" or \"[::1]:9729\"",
        };
        Problem::new(
            format!("is not an address with a port: \"{}\"", shown(text)),
            "not an address with a port",
            help,
        )
    })
}

/// The endpoint as it is written in a configuration.
pub(crate) fn display(endpoint: &Endpoint) -> String {
    let host = match &endpoint.host {
        EndpointHost::Name(name) => name.clone(),
        EndpointHost::Net(net) if net.addr().is_ipv6() => format!("[{}]", network::display(net)),
        EndpointHost::Net(net) => network::display(net),
    };
    match endpoint.port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}
