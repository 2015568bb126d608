//! What the demo needs to know of guardd's configuration. The file is the only place where the
//! demo's addresses and paths are written.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use testbed::span;

/// Name of the demo's directory and of its cgroup: all that bears it may be removed.
pub(crate) const NAME: &str = "guard-demo";
/// Bulkheads, as the steps name them.
pub(crate) const BULKHEADS: [&str; 2] = ["research", "writing"];
/// Services that answer at once.
pub(crate) const SERVICES: [&str; 2] = ["github", "search"];
/// The service that thinks for ever.
pub(crate) const SILENT: &str = "model";
/// The service that falls sick.
pub(crate) const SICK: &str = "api";
/// The service that goes away and comes back.
pub(crate) const DATABASE: &str = "database";
/// The service that hangs once.
pub(crate) const ASSISTANT: &str = "assistant";
/// The agent that guard runs; its state is in the directory of this name below the demo's.
pub(crate) const WORKER: &str = "worker";

/// Addresses and paths of the demo.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The configuration file.
    pub(crate) config: PathBuf,
    /// Holds the control socket and the state; removed at the end.
    pub(crate) directory: PathBuf,
    /// `daemon.control_socket`.
    pub(crate) socket: PathBuf,
    /// `daemon.state_dir`.
    pub(crate) state_dir: PathBuf,
    /// `daemon.metrics_listen`.
    pub(crate) metrics: SocketAddr,
    /// `daemon.fault_lease`.
    pub(crate) lease: Duration,
    endpoints: BTreeMap<String, Vec<SocketAddr>>,
}

#[derive(Deserialize)]
struct File {
    daemon: Daemon,
    services: BTreeMap<String, Service>,
    bulkheads: BTreeMap<String, Bulkhead>,
}

#[derive(Deserialize)]
struct Daemon {
    state_dir: PathBuf,
    control_socket: PathBuf,
    metrics_listen: SocketAddr,
    fault_lease: String,
}

#[derive(Deserialize)]
struct Service {
    endpoints: Vec<SocketAddr>,
}

#[derive(Deserialize)]
struct Bulkhead {
    cgroup: PathBuf,
}

impl Setup {
    /// Reads the file and checks that it is one that the demo can be shown with.
    pub(crate) fn read(config: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(config).with_context(|| {
            format!("cannot read {}; run from the top of the repository", config.display())
        })?;
        Self::parse(config, &text).with_context(|| format!("{}", config.display()))
    }

    fn parse(config: &Path, text: &str) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        let daemon = file.daemon;
        let directory = daemon.control_socket.parent().unwrap_or(Path::new("/")).to_owned();
        ensure!(
            directory.ends_with(NAME) && daemon.state_dir.starts_with(&directory),
            "control_socket and state_dir must lie in one directory named {NAME}, because the \
             demo removes it at its end"
        );
        for name in BULKHEADS {
            let bulkhead = file.bulkheads.get(name);
            let bulkhead = bulkhead.with_context(|| format!("there is no bulkhead {name}"))?;
            ensure!(
                bulkhead.cgroup.starts_with(NAME),
                "bulkheads.{name}.cgroup must begin with {NAME}/, because the demo removes it"
            );
        }
        let mut endpoints = BTreeMap::new();
        for name in SERVICES.into_iter().chain([SILENT, SICK, DATABASE, ASSISTANT]) {
            let service = file.services.get(name);
            let service = service.with_context(|| format!("there is no service {name}"))?;
            let ours = |at: &SocketAddr| at.ip().is_loopback() && at.port() != 0;
            ensure!(
                service.endpoints.iter().any(SocketAddr::is_ipv4)
                    && service.endpoints.iter().all(ours),
                "services.{name}.endpoints must be loopback addresses with ports, one of them IPv4"
            );
            endpoints.insert(name.to_owned(), service.endpoints.clone());
        }
        Ok(Self {
            config: config.to_owned(),
            directory,
            socket: daemon.control_socket,
            state_dir: daemon.state_dir,
            metrics: daemon.metrics_listen,
            lease: span::parse(&daemon.fault_lease).context("daemon.fault_lease")?,
            endpoints,
        })
    }

    /// Addresses of a service that this host can serve: without IPv6, those of IPv4.
    pub(crate) fn addresses(&self, service: &str) -> Vec<SocketAddr> {
        let usable = |at: &&SocketAddr| at.is_ipv4() || has_ipv6();
        self.endpoints.get(service).into_iter().flatten().filter(usable).copied().collect()
    }

    /// All of them, with the key that names them.
    pub(crate) fn all_addresses(&self) -> Vec<(SocketAddr, String)> {
        let services = self.endpoints.keys().flat_map(|name| {
            let key = format!("services.{name}.endpoints");
            self.addresses(name).into_iter().map(move |address| (address, key.clone()))
        });
        services.chain([(self.metrics, "daemon.metrics_listen".to_owned())]).collect()
    }
}

/// Whether ::1 can be used.
pub(crate) fn has_ipv6() -> bool {
    std::net::UdpSocket::bind("[::1]:0").is_ok()
}

#[cfg(test)]
mod tests {
    use super::Setup;
    use std::path::Path;
    use std::time::Duration;

    const DEMO: &str = include_str!("../../../configs/demo.toml");

    #[test]
    fn the_shipped_file_is_one_to_be_shown() {
        let setup = Setup::parse(Path::new("demo.toml"), DEMO).unwrap();
        assert_eq!(setup.directory, Path::new("/run/guard-demo"));
        assert_eq!(setup.lease, Duration::from_secs(1));
        assert!(setup.all_addresses().len() >= 4);
    }

    #[test]
    fn a_directory_that_is_not_the_demos_is_not_removed() {
        for (from, to) in [
            ("/run/guard-demo/guardd.sock", "/run/guardd.sock"),
            ("/run/guard-demo/state", "/var/lib/guard"),
            ("guard-demo/research", "agents/research"),
            ("127.0.0.1:18081", "192.0.2.1:18081"),
        ] {
            let text = DEMO.replace(from, to);
            assert!(Setup::parse(Path::new("demo.toml"), &text).is_err(), "{to}");
        }
    }
}
