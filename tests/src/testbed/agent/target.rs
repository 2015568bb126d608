//! Where an agent's calls go. Literal addresses only: a name would ask a resolver that is not
//! of this machine.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};

use crate::server::is_ours;

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One HTTP/1.1 request and its answer.
    Http,
    /// Some bytes over TCP and the same bytes back.
    TcpEcho,
    /// One datagram and the same one back.
    Udp,
    /// Connect and close: nothing is sent.
    Connect,
}

/// `http://127.0.0.1:8080/path`, `tcp://[::1]:7`, `udp://127.0.0.1:7` or `connect://127.0.0.1:80`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How.
    pub protocol: Protocol,
    /// Where.
    pub address: SocketAddr,
    /// Path of HTTP requests.
    pub path: String,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").with_context(|| {
            format!("`{text}`: no scheme; known: http://, tcp://, udp://, connect://")
        })?;
        let protocol = match scheme {
            "http" => Protocol::Http,
            "tcp" => Protocol::TcpEcho,
            "udp" => Protocol::Udp,
            "connect" => Protocol::Connect,
            _ => bail!("`{text}`: unknown scheme `{scheme}`; known: http, tcp, udp, connect"),
        };
        let (address, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let address: SocketAddr = address
            .parse()
            .with_context(|| format!("`{text}`: `{address}` is no literal ADDRESS:PORT"))?;
        ensure!(is_ours(address), "`{text}` is neither loopback nor of a test's namespace");
        Ok(Self { protocol, address, path: path.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Http => return write!(f, "http://{}{}", self.address, self.path),
            Protocol::TcpEcho => "tcp",
            Protocol::Udp => "udp",
            Protocol::Connect => "connect",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn targets_are_read_back() {
        for text in [
            "http://127.0.0.1:80/a?b",
            "tcp://[::1]:7",
            "udp://127.0.0.2:9",
            "connect://127.0.0.1:1",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn names_and_outside_addresses_are_refused() {
        for text in
            ["http://localhost:80", "http://192.0.2.1:80/", "127.0.0.1:80", "ftp://127.0.0.1:1"]
        {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
