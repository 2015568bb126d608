//! A guardd with 100 bulkheads and 100 services.

use std::net::SocketAddr;

use testbed::guardd::GuarddConfig;

/// Bulkheads, and services.
pub(crate) const COUNT: usize = 100;

/// The configuration; `port` is that of the last service, so that a reload has something to do.
/// The addresses are loopback's: nothing is ever sent to them.
pub(crate) fn config(port: u16) -> GuarddConfig {
    let services: Vec<(String, [SocketAddr; 1])> = (0..COUNT)
        .map(|n| {
            let port = if n + 1 == COUNT { port } else { 443 };
            (format!("service-{n}"), [SocketAddr::from(([127, 20, 0, n as u8], port))])
        })
        .collect();
    let services: Vec<(&str, &[SocketAddr])> =
        services.iter().map(|(name, endpoints)| (name.as_str(), endpoints.as_slice())).collect();
    let bulkheads: Vec<String> = (0..COUNT).map(|n| format!("agent-{n}")).collect();
    let bulkheads: Vec<&str> = bulkheads.iter().map(String::as_str).collect();
    let mut config = GuarddConfig::simple(&services, &bulkheads);
    // With their breakers, as a host has them.
    config.replace("mode = \"off\"", "");
    config
}
