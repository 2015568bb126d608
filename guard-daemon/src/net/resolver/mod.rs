//! Host names to addresses, as the host itself would: hosts file first, then the system's name
//! servers and search list. Both files are read again when they change. It asks only for names
//! that it is given, and an answer is never older than its TTL.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{Name, RecordType};

mod source;
#[cfg(test)]
mod tests;
mod tracker;

use source::{Dns, Source};
pub use tracker::{Tracker, Update};

/// Shortest and longest time for which an answer is believed.
const MIN_TTL: Duration = Duration::from_secs(1);
const MAX_TTL: Duration = Duration::from_hours(1);
/// How long a line of the hosts file is believed before it is read again.
const HOSTS_TTL: Duration = Duration::from_mins(1);

/// Addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// At least one, sorted, without repetition.
    pub addresses: Vec<IpAddr>,
    /// When they must be asked for again: 1 s to 1 h from now; 60 s for the hosts file.
    pub valid_until: Instant,
    /// Why one of the two address families could not be asked for, if so: its addresses are
    /// unknown then, not absent.
    pub incomplete: Option<String>,
}

/// A name without addresses.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResolveError {
    /// It is no host name.
    #[error("`{name}` is not a host name: {reason}")]
    BadName {
        /// The name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The servers say that there is no such name, or that it has no address.
    #[error("host name `{name}`: {found}; check its spelling and the search list in {config}")]
    NotFound {
        /// The name.
        name: String,
        /// What was found instead.
        found: &'static str,
        /// The resolver's configuration.
        config: String,
    },
    /// The servers could not be asked or could not tell.
    #[error("host name `{name}` cannot be resolved now: {reason}; name servers: {config}")]
    Failed {
        /// The name.
        name: String,
        /// Why.
        reason: String,
        /// The resolver's configuration.
        config: String,
    },
}

/// Resolves names. Cheap to share.
#[derive(Debug)]
pub struct Resolver {
    source: Source,
}

impl Resolver {
    /// With `/etc/hosts` and `/etc/resolv.conf`. Neither has to exist (yet).
    pub fn system() -> Self {
        Self { source: Source::system() }
    }

    /// With these name servers (UDP) and this hosts file instead.
    pub fn with_name_servers(servers: Vec<SocketAddr>, timeout: Duration, hosts: PathBuf) -> Self {
        Self { source: Source::fixed(servers, timeout, hosts) }
    }

    /// All addresses of a name, IPv4 and IPv6. An address as name is its own answer.
    pub async fn resolve(&self, name: &str) -> Result<Answer, ResolveError> {
        let now = Instant::now();
        if let Ok(address) = name.parse::<IpAddr>() {
            let valid_until = now + MAX_TTL;
            return Ok(Answer { addresses: vec![address], valid_until, incomplete: None });
        }
        let parsed = Name::from_utf8(name)
            .map_err(|e| ResolveError::BadName { name: name.to_owned(), reason: e.to_string() })?;
        if let Some(addresses) = self.source.hosts(&parsed) {
            let valid_until = now + HOSTS_TTL;
            return Ok(Answer { addresses, valid_until, incomplete: None });
        }
        let failed = |reason: String| ResolveError::Failed {
            name: name.to_owned(),
            reason,
            config: self.source.describe(),
        };
        let dns = self.source.dns().map_err(failed)?;
        let mut found = "the name does not exist";
        for candidate in candidates(&parsed, &dns) {
            let (v4, v6) = tokio::join!(
                ask(&dns.resolver, &candidate, RecordType::A),
                ask(&dns.resolver, &candidate, RecordType::AAAA)
            );
            match combine(v4, v6) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(NoRecords::NameExists) => found = "the name exists but has no address",
                Err(NoRecords::Unknown(reason)) => return Err(failed(reason)),
            }
        }
        let config = self.source.describe();
        Err(ResolveError::NotFound { name: name.to_owned(), found, config })
    }
}

/// Why a candidate gave no address.
enum NoRecords {
    /// The name has other records.
    NameExists,
    /// The servers could not tell.
    Unknown(String),
}

/// Addresses of one family and how long they hold.
struct Found {
    addresses: Vec<IpAddr>,
    ttl: Duration,
    /// Whether the servers know the name at all.
    exists: bool,
}

/// Asks for one record type, past hickory's cache: it is used once per TTL, and a cached answer
/// would be one about to end.
async fn ask(
    resolver: &TokioResolver,
    name: &Name,
    record_type: RecordType,
) -> Result<Found, NetError> {
    resolver.clear_lookup_cache(name.clone(), record_type);
    match resolver.lookup(name.clone(), record_type).await {
        Ok(lookup) => {
            let records = lookup.answers();
            let addresses = records.iter().filter_map(|r| r.data.ip_addr()).collect();
            // Aliases on the way end the answer too.
            let ttl_seconds = records.iter().map(|r| r.ttl).min().unwrap_or(0);
            Ok(Found { addresses, ttl: Duration::from_secs(ttl_seconds.into()), exists: true })
        }
        Err(error) if error.is_no_records_found() => {
            Ok(Found { addresses: Vec::new(), ttl: MAX_TTL, exists: !error.is_nx_domain() })
        }
        Err(error) => Err(error),
    }
}

/// Puts both families together; `Ok(None)` = no such name.
fn combine(
    v4: Result<Found, NetError>,
    v6: Result<Found, NetError>,
) -> Result<Option<Answer>, NoRecords> {
    let mut addresses = Vec::new();
    let mut ttl = MAX_TTL;
    let mut exists = false;
    let mut errors = Vec::new();
    for (family, result) in [("IPv4", v4), ("IPv6", v6)] {
        match result {
            Ok(found) => {
                if !found.addresses.is_empty() {
                    ttl = ttl.min(found.ttl);
                }
                exists |= found.exists;
                addresses.extend(found.addresses);
            }
            Err(error) => errors.push(format!("{family} addresses: {error}")),
        }
    }
    let incomplete = (!errors.is_empty()).then(|| errors.join("; "));
    if addresses.is_empty() {
        return match incomplete {
            Some(reason) => Err(NoRecords::Unknown(reason)),
            None if exists => Err(NoRecords::NameExists),
            None => Ok(None),
        };
    }
    addresses.sort_unstable();
    addresses.dedup();
    let valid_until = Instant::now() + ttl.clamp(MIN_TTL, MAX_TTL);
    Ok(Some(Answer { addresses, valid_until, incomplete }))
}

/// The names to try, best first, as resolv.conf(5) has it: a name with enough dots as it is
/// before the search list, another one after it.
fn candidates(name: &Name, dns: &Dns) -> Vec<Name> {
    let mut as_it_is = name.clone();
    as_it_is.set_fqdn(true);
    if name.is_fqdn() || name.is_localhost() {
        return vec![as_it_is];
    }
    let mut names: Vec<Name> =
        dns.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    let place = if dots >= dns.ndots { 0 } else { names.len() };
    names.insert(place, as_it_is);
    names
}
