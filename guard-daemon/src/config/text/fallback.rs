//! One fallback of a service: `127.0.0.1:9000`, `[::1]:9001`, `static:/srv/cache`.

use std::path::PathBuf;

use super::{Problem, endpoint, path};
use crate::plan::Fallback;

/// What files are served from.
const STATIC: &str = "static:";

/// Reads a fallback.
pub(crate) fn parse(text: &str) -> Result<Fallback, Problem> {
    if let Some(directory) = text.strip_prefix(STATIC) {
        path::check_absolute(directory)?;
        return Ok(Fallback::Static(PathBuf::from(directory)));
    }
    let address = endpoint::parse_socket_address(text)?;
    let ip = address.ip().to_canonical();
    if address.port() == 0 {
        return Err(Problem::new("has port 0", "port 0", "a port is 1 to 65535"));
    }
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(Problem::new(
            format!("has an address that nobody answers at: {ip}"),
            "not the address of a host",
            "write the address of the fallback's server, such as \"127.0.0.1:9000\"",
        ));
    }
    Ok(Fallback::Address(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_directories() {
        assert_eq!(parse("[::1]:9001").unwrap().to_string(), "[::1]:9001");
        assert_eq!(parse("static:/srv/cache").unwrap(), Fallback::Static("/srv/cache".into()));
        for bad in ["static:srv", "127.0.0.1", "127.0.0.1:0", "0.0.0.0:9000", "localhost:9000", ""]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
