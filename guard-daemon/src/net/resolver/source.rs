//! Where answers come from: the hosts file and the name servers of resolv.conf, read again when
//! the file has changed. It only reads.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Name servers and how to use them.
pub(super) struct Dns {
    pub(super) resolver: TokioResolver,
    /// Domains to try a short name in.
    pub(super) search: Vec<Name>,
    /// Dots from which on a name is not short.
    pub(super) ndots: usize,
}

/// Which name servers.
#[derive(Debug)]
enum Servers {
    ResolvConf(PathBuf),
    Fixed(Vec<SocketAddr>, Duration),
}

/// When a file was changed and how long it is: a new version has another pair.
type Version = (SystemTime, u64);

pub(super) struct Source {
    hosts: PathBuf,
    servers: Servers,
    /// Made from this version of resolv.conf; `None` for fixed servers.
    dns: Mutex<Option<(Option<Version>, Arc<Dns>)>>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("hosts", &self.hosts)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

impl Source {
    pub(super) fn system() -> Self {
        Self::of_files(HOSTS.into(), RESOLV_CONF.into())
    }

    pub(super) fn of_files(hosts: PathBuf, resolv_conf: PathBuf) -> Self {
        Self { hosts, servers: Servers::ResolvConf(resolv_conf), dns: Mutex::new(None) }
    }

    pub(super) fn fixed(servers: Vec<SocketAddr>, timeout: Duration, hosts: PathBuf) -> Self {
        Self { hosts, servers: Servers::Fixed(servers, timeout), dns: Mutex::new(None) }
    }

    /// For messages.
    pub(super) fn describe(&self) -> String {
        match &self.servers {
            Servers::ResolvConf(path) => path.display().to_string(),
            Servers::Fixed(servers, _) => {
                servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// What the hosts file says. A name that is in it for one address family has no addresses of
    /// the other: that is how the C library has it.
    pub(super) fn hosts(&self, name: &Name) -> Option<Vec<IpAddr>> {
        let mut hosts = Hosts::default();
        match File::open(&self.hosts).and_then(|file| hosts.read_hosts_conf(file)) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %self.hosts.display(), %error, "cannot read the hosts file");
                return None;
            }
        }
        // Lower case, as the hosts file is read.
        let name = name.to_lowercase();
        let look_up = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(look_up);
        let mut addresses: Vec<IpAddr> = found
            .flat_map(|lookup| {
                lookup.answers().iter().filter_map(|r| r.data.ip_addr()).collect::<Vec<_>>()
            })
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        (!addresses.is_empty()).then_some(addresses)
    }

    /// The name servers, as configured now.
    pub(super) fn dns(&self) -> Result<Arc<Dns>, String> {
        let version = match &self.servers {
            Servers::ResolvConf(path) => Some(version(path)?),
            Servers::Fixed(..) => None,
        };
        let mut cached = self.dns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, dns)) = &*cached
            && *known == version
        {
            return Ok(Arc::clone(dns));
        }
        let dns = Arc::new(self.build()?);
        *cached = Some((version, Arc::clone(&dns)));
        Ok(dns)
    }

    fn build(&self) -> Result<Dns, String> {
        let (config, mut options) = match &self.servers {
            Servers::ResolvConf(path) => {
                let text = std::fs::read(path).map_err(|e| cannot("read", path, &e))?;
                system_conf::parse_resolv_conf(text).map_err(|e| cannot("use", path, &e))?
            }
            Servers::Fixed(servers, timeout) => fixed_config(servers, *timeout),
        };
        // The hosts file is read here, so that its changes are seen.
        options.use_hosts_file = ResolveHosts::Never;
        // For the TTLs of aliases.
        options.preserve_intermediates = true;
        let search = match config.search() {
            [] => config.domain().cloned().into_iter().collect(),
            domains => domains.to_vec(),
        };
        let ndots = options.ndots;
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|e| e.to_string())?;
        Ok(Dns { resolver, search, ndots })
    }
}

fn fixed_config(servers: &[SocketAddr], timeout: Duration) -> (ResolverConfig, ResolverOpts) {
    let server = |address: &SocketAddr| {
        let mut connection = ConnectionConfig::udp();
        connection.port = address.port();
        NameServerConfig::new(address.ip(), true, vec![connection])
    };
    let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
    let mut options = ResolverOpts::default();
    options.timeout = timeout;
    options.attempts = 1;
    (config, options)
}

fn version(path: &Path) -> Result<Version, String> {
    let look = || -> std::io::Result<Version> {
        let metadata = std::fs::metadata(path)?;
        Ok((metadata.modified()?, metadata.len()))
    };
    look().map_err(|e| cannot("read", path, &e))
}

fn cannot(action: &str, path: &Path, error: &dyn std::error::Error) -> String {
    format!("cannot {action} {}: {error}", path.display())
}
