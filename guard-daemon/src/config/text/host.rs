//! Host names after RFC 1123.

use super::{Problem, shown};

/// Checks a host name and gives it in lower case.
pub(crate) fn parse(host: &str) -> Result<String, Problem> {
    let bad = |why: &str, help: String| {
        Err(Problem::new(format!("is not a host name: \"{}\": {why}", shown(host)), why, help))
    };
    if host.is_empty() {
        return bad("the host is empty", "write a host name or an address".into());
    }
    if !host.is_ascii() {
        return bad("it has letters beyond ASCII", "write the `xn--` form of the name".into());
    }
    if host.contains('*') {
        return bad(
            "a wildcard cannot be resolved",
            "name each host, or the network that they are in".into(),
        );
    }
    if let Some(stripped) = host.strip_suffix('.') {
        return bad("it ends with a dot", format!("write \"{}\"", shown(stripped)));
    }
    if host.len() > 253 {
        return bad("it is longer than 253 characters", "no such name can exist".into());
    }
    for label in host.split('.') {
        if label.is_empty() {
            return bad("it has an empty label", "remove the extra dot".into());
        }
        if label.len() > 63 {
            return bad("a label is longer than 63 characters", "no such name can exist".into());
        }
        if let Some(c) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
            let why = format!("`{}` is not allowed", shown(&c.to_string()));
            return bad(&why, "names have letters, digits, `-` and dots".into());
        }
        if label.starts_with('-') || label.ends_with('-') {
            return bad("a label starts or ends with `-`", "remove the `-`".into());
        }
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return bad(
            "it is neither a name nor an IPv4 address",
            "an IPv4 address has four numbers from 0 to 255, such as \"192.0.2.1\"".into(),
        );
    }
    Ok(host.to_ascii_lowercase())
}
