//! Key paths: the table flattened, and what a path written by a person means in it.

use super::drill::DRILL_ROOT;
use super::{Key, Kind, NAME, ROOT};

/// A key with its full path.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `bulkheads.NAME.memory_max`.
    pub path: String,
    /// The key.
    pub key: &'static Key,
    /// Whether this version acts on it: false too where a table above it is without effect.
    pub enforced: bool,
}

/// Every key of the configuration with its full path, tables before their keys.
pub fn entries() -> Vec<Entry> {
    entries_of(ROOT)
}

/// Every key of a drill, its path below `drill`: `drill.fault.latency.delay`.
pub fn drill_entries() -> Vec<Entry> {
    entries_of(DRILL_ROOT)
}

/// Every key of one kind of document.
pub(crate) fn entries_of(root: &'static [Key]) -> Vec<Entry> {
    let mut out = Vec::new();
    flatten(root, "", true, &mut out);
    out
}

fn flatten(keys: &'static [Key], prefix: &str, enforced: bool, out: &mut Vec<Entry>) {
    for key in keys {
        let path =
            if prefix.is_empty() { key.name.to_owned() } else { format!("{prefix}.{}", key.name) };
        let enforced = enforced && key.enforced;
        let below = if matches!(key.kind, Kind::Named { .. }) {
            format!("{path}.{NAME}")
        } else {
            path.clone()
        };
        out.push(Entry { path, key, enforced });
        flatten(key.children(), &below, enforced, out);
    }
}

impl Entry {
    /// Whether `topic` (its components) is this key: the whole path, with placeholders or real
    /// names, or an end of it that starts with a word of the table.
    pub(crate) fn matches(&self, topic: &[&str]) -> Match {
        let pattern: Vec<&str> = self.path.split('.').collect();
        if topic.is_empty() || topic.len() > pattern.len() {
            return Match::No;
        }
        let end = &pattern[pattern.len() - topic.len()..];
        let same = end.iter().zip(topic).all(|(p, t)| *p == NAME || p == t);
        match (same, topic.len() == pattern.len()) {
            (true, true) => Match::Full,
            (true, false) if end[0] != NAME => Match::End,
            _ => Match::No,
        }
    }
}

/// How well a topic fits a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// Not at all.
    No,
    /// The end of its path.
    End,
    /// Its whole path.
    Full,
}
