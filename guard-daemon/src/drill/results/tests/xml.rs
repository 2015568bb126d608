//! Whether a text is well-formed XML: one root, tags in pairs, nothing unescaped.

/// An error says where.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut open: Vec<String> = Vec::new();
    let mut roots = 0;
    let mut rest = text;
    let is_allowed = |c: char| !c.is_control() || "\n\r\t".contains(c);
    if let Some(bad) =
        text.chars().find(|c| !is_allowed(*c) || matches!(c, '\u{fffe}' | '\u{ffff}'))
    {
        return Err(format!("{bad:?} is not allowed in XML"));
    }
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        content(before)?;
        if open.is_empty() && !before.trim().is_empty() {
            return Err(format!("text outside of the root: {before:?}"));
        }
        let end = tag.find('>').ok_or_else(|| format!("no end: {tag:?}"))?;
        let inside = &tag[1..end];
        rest = &tag[end + 1..];
        if let Some(inside) = inside.strip_prefix('?') {
            inside.strip_suffix('?').ok_or("a declaration without an end")?;
        } else if let Some(name) = inside.strip_prefix('/') {
            let expected = open.pop().ok_or_else(|| format!("/{name} was not open"))?;
            if expected != name {
                return Err(format!("{expected} is ended by {name}"));
            }
        } else {
            let is_closed = inside.ends_with('/');
            let inside = inside.trim_end_matches('/');
            let (name, attributes) = inside.split_once(' ').unwrap_or((inside, ""));
            quoted(attributes)?;
            roots += usize::from(open.is_empty());
            if !is_closed {
                open.push(name.to_owned());
            }
        }
    }
    content(rest)?;
    match (roots, open.as_slice(), rest.trim()) {
        (1, [], "") => Ok(()),
        other => Err(format!("roots, still open, rest: {other:?}")),
    }
}

/// `a="b" c="d"`
fn quoted(attributes: &str) -> Result<(), String> {
    let mut rest = attributes.trim();
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").ok_or_else(|| format!("no value: {rest:?}"))?;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-:_".contains(c))
        {
            return Err(format!("{name:?} is no name of an attribute"));
        }
        let (value, after) = value.split_once('"').ok_or_else(|| format!("no end: {rest:?}"))?;
        content(value)?;
        if value.contains('<') {
            return Err(format!("{value:?} is not escaped"));
        }
        rest = after.trim_start();
    }
    Ok(())
}

/// Every `&` begins an entity.
fn content(text: &str) -> Result<(), String> {
    for after in text.split('&').skip(1) {
        let name = after.split(';').next().unwrap_or_default();
        if !after.contains(';')
            || !(name.starts_with('#') || ["lt", "gt", "amp", "quot", "apos"].contains(&name))
        {
            return Err(format!("&{after} is no entity"));
        }
    }
    Ok(())
}

#[test]
fn it_finds_what_is_wrong() {
    check("<?xml version=\"1.0\"?>\n<a b=\"c &lt; d\"><e/>f</a>\n").unwrap();
    for bad in [
        "",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a b=\"<\"/>",
        "<a>&</a>",
        "<a b=c/>",
        "<a>\u{1b}</a>",
        "x<a/>",
    ] {
        assert!(check(bad).is_err(), "{bad}");
    }
}
