//! Readers of single values: text in, value or a [`Problem`] out. They know no file, no position
//! and no key; they do no I/O.

pub(crate) mod calendar;
pub(crate) mod duration;
pub(crate) mod endpoint;
pub(crate) mod fallback;
pub(crate) mod host;
pub(crate) mod line;
pub(crate) mod name;
pub(crate) mod network;
pub(crate) mod path;
pub(crate) mod rate;
pub(crate) mod signals;
pub(crate) mod size;
pub(crate) mod suggest;
pub(crate) mod url;

#[cfg(test)]
mod tests;

/// What is wrong with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Goes on after the key's name: "is 100ms, but must be 500ms to 60s".
    pub(crate) what: String,
    /// A few words to put under the value.
    pub(crate) label: String,
    /// The cure; empty if none is known.
    pub(crate) help: String,
}

impl Problem {
    pub(crate) fn new(
        what: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), label: label.into(), help: help.into() }
    }
}

/// Longest piece of a file that a message repeats.
const SHOWN_CHARS: usize = 60;

/// `text` for a message: control characters escaped, cut where it is long.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(SHOWN_CHARS) {
        // Among the control characters are those that would move a terminal's cursor.
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    if text.chars().nth(SHOWN_CHARS).is_some() {
        out.push_str("...");
    }
    out
}
