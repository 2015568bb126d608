//! URLs that guard asks: their form only. Nothing is asked and no name is resolved here.

use super::{Problem, endpoint, shown};

/// Checks an `http://` or `https://` URL.
pub(crate) fn check(text: &str) -> Result<(), Problem> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = rest.and_then(|r| r.split(['/', '?']).next()).filter(|h| endpoint::parse(h).is_ok());
    if host.is_some() && !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Ok(());
    }
    Err(Problem::new(
        format!("is not a URL: \"{}\"", shown(text)),
        "not a URL",
        "write \"http://host:port/path\"",
    ))
}

/// Checks an `http://` URL, asked in clear text: guard itself speaks no TLS.
pub(crate) fn check_http(text: &str) -> Result<(), Problem> {
    check(text)?;
    if text.starts_with("https://") {
        return Err(Problem::new(
            "is an https:// URL",
            "TLS is not spoken here",
            "write an http:// URL, or ask with a command such as [\"/usr/bin/curl\", \"-fsS\", ...]",
        ));
    }
    if !text.is_ascii() || text.contains('#') {
        return Err(Problem::new(
            "has characters that cannot be sent",
            "plain ASCII, without `#`",
            "write other characters as %XX, and leave out what follows a `#`",
        ));
    }
    Ok(())
}
