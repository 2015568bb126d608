//! The configuration of a guardd under test: paths, ports and a cgroup root that belong to this
//! one test, and whatever services and bulkheads the test writes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result};

/// What a test wants of its guardd.
#[derive(Clone, Debug, Default)]
pub struct GuarddConfig {
    daemon: BTreeMap<String, String>,
    body: String,
}

impl GuarddConfig {
    /// `body`: TOML of `[services.…]`, `[bulkheads.…]` and so on, without `[daemon]`.
    #[must_use]
    pub fn new(body: impl Into<String>) -> Self {
        Self { daemon: BTreeMap::new(), body: body.into() }
    }

    /// Services as (name, endpoints), and bulkheads whose cgroups bear their names.
    #[must_use]
    pub fn simple(services: &[(&str, &[SocketAddr])], bulkheads: &[&str]) -> Self {
        let services = services.iter().map(|(name, endpoints)| {
            let endpoints: Vec<String> = endpoints.iter().map(|e| format!("\"{e}\"")).collect();
            format!("[services.{name}]\nendpoints = [{}]\n", endpoints.join(", "))
        });
        let bulkheads =
            bulkheads.iter().map(|name| format!("[bulkheads.{name}]\ncgroup = \"{name}\"\n"));
        // What fails in a test shall fail as often as the test says.
        let quiet = ["[defaults.breaker]\nmode = \"off\"\n".to_owned()];
        let body: String = services.chain(bulkheads).chain(quiet).collect();
        Self::new(body)
    }

    /// Sets a key of `[daemon]` to a TOML value: `.daemon("fault_lease", "\"1s\"")`.
    #[must_use]
    pub fn daemon(mut self, key: &str, toml_value: &str) -> Self {
        self.daemon.insert(key.to_owned(), toml_value.to_owned());
        self
    }

    /// Replaces the body; the keys of `[daemon]` stay.
    pub fn set_body(&mut self, body: impl Into<String>) {
        self.body = body.into();
    }

    /// Adds to the body.
    pub fn append(&mut self, more: &str) {
        self.body.push_str(more);
    }

    /// Replaces a part of the body.
    pub fn replace(&mut self, from: &str, to: &str) {
        self.body = self.body.replace(from, to);
    }

    /// The file's text; keys that the test has set win over those of the test-bed.
    pub(super) fn render(
        &self,
        directory: &Path,
        metrics: SocketAddr,
        cgroup_root: &Path,
    ) -> String {
        let path = |path: &Path| format!("{:?}", path.display().to_string());
        let mut daemon = BTreeMap::from([
            ("state_dir".to_owned(), path(&directory.join("state"))),
            ("control_socket".to_owned(), path(&directory.join("guardd.sock"))),
            ("metrics_listen".to_owned(), format!("\"{metrics}\"")),
            ("cgroup_root".to_owned(), path(cgroup_root)),
        ]);
        daemon.extend(self.daemon.clone());
        let keys: Vec<String> = daemon.iter().map(|(k, v)| format!("{k} = {v}\n")).collect();
        format!("[daemon]\n{}\n{}", keys.concat(), self.body)
    }
}

/// A TCP port of 127.0.0.1 that is free now.
pub fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::GuarddConfig;
    use std::path::Path;

    #[test]
    fn keys_of_the_test_win() {
        let config = GuarddConfig::simple(&[("api", &["127.0.0.1:80".parse().unwrap()])], &["b"])
            .daemon("metrics_listen", "\"off\"")
            .daemon("fault_lease", "\"1s\"");
        let text = config.render(Path::new("/d"), "127.0.0.1:9".parse().unwrap(), Path::new("/cg"));
        assert_eq!(
            text,
            "[daemon]\ncgroup_root = \"/cg\"\ncontrol_socket = \"/d/guardd.sock\"\n\
             fault_lease = \"1s\"\nmetrics_listen = \"off\"\nstate_dir = \"/d/state\"\n\n\
             [services.api]\nendpoints = [\"127.0.0.1:80\"]\n[bulkheads.b]\ncgroup = \"b\"\n\
             [defaults.breaker]\nmode = \"off\"\n"
        );
    }
}
