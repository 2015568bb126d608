//! Fallbacks that cannot work, or that would work against themselves.

use std::net::SocketAddr;

use crate::config::build;
use crate::config::read::{Field, Named, Node};
use crate::config::sink::Sink;
use crate::config::text::endpoint::display;
use crate::plan::{Endpoint, EndpointHost, Fallback};

/// Ports on which nearly everybody speaks TLS.
const TLS_PORTS: [u16; 4] = [443, 6443, 8443, 9443];

pub(super) fn check(root: &Node, sink: &mut Sink) {
    for service in root.named("services") {
        gateway(service, sink);
    }
    let metrics = root.table("daemon").and_then(|daemon| daemon.listen("metrics_listen"));
    for service in root.named("services") {
        let Some(field) = service.node.field("fallback") else { continue };
        let places = build::fallbacks(&service.node);
        for (number, place) in places.iter().enumerate() {
            let found = wrong(place, service, metrics).or_else(|| {
                let again = places.iter().take(number).any(|earlier| earlier == place);
                again.then(|| {
                    (format!("{place} is listed twice"), "remove one of the two".to_owned())
                })
            });
            if let Some((message, help)) = found {
                let message = format!("fallback of service `{}`: {message}", service.name);
                sink.error(&field.span, &field.path, message, "cannot work", help);
            }
        }
        directories(&places, &service.name, field, sink);
        tls(service, &places, sink);
    }
}

/// What a gateway cannot do for its service.
fn gateway(service: &Named, sink: &mut Sink) {
    let (node, name) = (&service.node, &service.name);
    if !node.flag("gateway") {
        for key in ["stale_if_error", "gateway_cache_max"] {
            if let Some(field) = node.given(key) {
                let message = format!("{key} of service `{name}` does nothing without a gateway");
                let help = "add `gateway = true`, or remove it";
                sink.warning(&field.span, &field.path, message, "nobody keeps answers", help);
            }
        }
        return;
    }
    let Some(field) = node.given("stale_if_error") else {
        if let Some(field) = node.given("gateway_cache_max") {
            let message = format!("gateway_cache_max of service `{name}` does nothing");
            let help = "add `stale_if_error`, or remove it";
            sink.warning(&field.span, &field.path, message, "no answer is kept", help);
        }
        return;
    };
    if matches!(node.text("protocol"), Some("tls" | "tcp")) {
        let message = format!("stale_if_error of service `{name}` cannot work");
        let help = "a gateway reads plain HTTP alone: set `protocol = \"http\"` if that is what it \
                    speaks, or remove it";
        sink.error(&field.span, &field.path, message, "no answer can be kept", help);
    }
}

/// Directories are of the host where this is checked, which need not be the one that it is for.
fn directories(places: &[Fallback], service: &str, field: &Field, sink: &mut Sink) {
    let mut seen = false;
    for place in places {
        let Fallback::Static(directory) = place else { continue };
        if seen {
            let message = format!("fallback of service `{service}`: {place} is never used");
            let help =
                "files that are missing in the first directory are not looked for in the next";
            sink.warning(&field.span, &field.path, message, "a second directory", help);
        }
        seen = true;
        if let Err(error) = crate::gateway::files::is_usable(directory) {
            let message = format!("fallback of service `{service}`: {place}: {error}");
            let help = "make the directory, readable for guardd; until then it does not answer";
            sink.warning(&field.span, &field.path, message, "no such files here", help);
        }
    }
}

/// What is wrong with one place, and the cure.
fn wrong(
    place: &Fallback,
    service: &Named,
    metrics: Option<SocketAddr>,
) -> Option<(String, String)> {
    let Fallback::Address(address) = place else { return None };
    let ip = address.ip().to_canonical();
    let is_metrics = |metrics: &SocketAddr| {
        let own = metrics.ip().to_canonical();
        metrics.port() == address.port()
            && (own == ip || (ip.is_loopback() && (own.is_loopback() || own.is_unspecified())))
    };
    if metrics.is_some_and(|metrics| is_metrics(&metrics)) {
        let help = "name the address of a server that can answer in the service's place";
        return Some((format!("{address} is guard's own /metrics"), help.to_owned()));
    }
    let own = service.node.endpoints("endpoints").iter().map(|(_, endpoint)| endpoint);
    let own = own.into_iter().find(|endpoint| is_among(endpoint, *address))?;
    Some((
        format!("{address} is the service itself (its endpoint \"{}\")", display(own)),
        "a fallback must be another server, at an address or port that is not among `endpoints`"
            .to_owned(),
    ))
}

fn is_among(endpoint: &Endpoint, address: SocketAddr) -> bool {
    let EndpointHost::Net(net) = &endpoint.host else { return false };
    net.contains(&address.ip().to_canonical())
        && endpoint.port.is_none_or(|port| port == address.port())
}

/// TLS: the agent asks the other server for a certificate of the service's name. It is an error where
/// the file says that the service speaks TLS, and a warning where only the port says so: then guard
/// does not know, and the breaker refuses nothing that the fallback would not spoil too.
fn tls(service: &Named, places: &[Fallback], sink: &mut Sink) {
    let node = &service.node;
    let Some(field) = node.field("fallback") else { return };
    let says_so = node.text("protocol") == Some("tls");
    let endpoints = node.endpoints("endpoints");
    let port = endpoints.iter().find_map(|(_, e)| e.port.filter(|p| TLS_PORTS.contains(p)));
    let may_be = node.text("protocol") == Some("auto") && port.is_some();
    if !(says_so || may_be) {
        return;
    }
    let files = places.iter().any(|place| matches!(place, Fallback::Static(_)));
    let covered = node.text("fallback_tls") == Some("same_certificate");
    let why = match port.filter(|_| !says_so) {
        Some(port) => format!("has port {port}, which mostly is TLS"),
        None => "speaks TLS".to_owned(),
    };
    let (message, help) = if files {
        (
            format!(
                "service `{}` {why}, and files can be served for plain HTTP only",
                service.name
            ),
            "name the address of a server with a certificate for the service's name, and add \
             `fallback_tls = \"same_certificate\"`; or set `protocol = \"http\"` if it speaks plain HTTP",
        )
    } else if !covered && !places.is_empty() {
        (
            format!(
                "service `{}` {why}: agents will refuse a fallback without a certificate for its name",
                service.name
            ),
            "if the fallback's certificate covers the service's name, add `fallback_tls = \
             \"same_certificate\"`; if the service speaks no TLS, set `protocol = \"http\"` or \"tcp\"",
        )
    } else {
        return;
    };
    if says_so {
        sink.error(&field.span, &field.path, message, "TLS to another server", help);
    } else {
        sink.warning(&field.span, &field.path, message, "TLS to another server?", help);
    }
}
