//! Topics of the keys of the configuration and of drills, from the table of keys.

use super::Topic;
use crate::config::schema::{
    Absent, BESIDE_STEPS, Entry, Key, Kind, Match, NAME, Reload, drill_entries, entries,
};

/// The keys that `asked` may mean: one if it is a whole path or an end that only one key has.
/// Keys of the configuration go before those of a drill, whose paths begin with `drill`.
pub(super) fn find(asked: &str) -> Vec<Topic> {
    let parts = split(asked);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (configuration, drill) = (entries(), drill_entries());
    // `drill` is both a whole path and the end of `schedule.drill`.
    let is_whole = |all: &[Entry]| all.iter().any(|entry| full(entry, &parts));
    if is_whole(&drill) && !is_whole(&configuration) {
        return find_in(&drill, &parts);
    }
    let found = find_in(&configuration, &parts);
    if found.is_empty() { find_in(&drill, &parts) } else { found }
}

fn find_in(all: &[Entry], parts: &[&str]) -> Vec<Topic> {
    if let Some(entry) = without_name(all, parts) {
        return vec![topic(entry, &[])];
    }
    if let Some(entry) = all.iter().find(|e| full(e, parts)) {
        return vec![topic(entry, &[])];
    }
    let ends: Vec<&Entry> = all.iter().filter(|e| e.matches(parts) == Match::End).collect();
    // The same key in two places ([defaults.breaker] and a bulkhead's own) is one topic.
    let mut groups: Vec<Vec<&Entry>> = Vec::new();
    for entry in ends {
        match groups.iter_mut().find(|g| g.iter().any(|e| std::ptr::eq(e.key, entry.key))) {
            Some(group) => group.push(entry),
            None => groups.push(vec![entry]),
        }
    }
    groups.iter().filter_map(|g| g.split_first().map(|(one, rest)| topic(one, rest))).collect()
}

/// The key of a named table's entries, asked for without a name: `bulkheads.budgets`.
fn without_name<'a>(all: &'a [Entry], parts: &[&str]) -> Option<&'a Entry> {
    let (last, table) = parts.split_last()?;
    let is_named = |entry: &&Entry| {
        matches!(entry.key.kind, Kind::Named { .. }) && entry.matches(table) == Match::Full
    };
    all.iter().find(is_named)?;
    let whole = [table, &[NAME, last]].concat();
    all.iter().find(|entry| entry.matches(&whole) == Match::Full)
}

/// Whether the path is this key, or one entry of it (`bulkheads.research` of `bulkheads`).
fn full(entry: &Entry, parts: &[&str]) -> bool {
    if entry.matches(parts) == Match::Full {
        return true;
    }
    matches!(entry.key.kind, Kind::Named { .. })
        && parts.split_last().is_some_and(|(_, table)| entry.matches(table) == Match::Full)
}

/// `a."b.c".d[2]` as `a`, `b.c`, `d`; `[a.b]` as `a`, `b`.
fn split(asked: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut quoted = false;
    for c in asked.trim_start_matches('[').chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
    }
    parts.push(part);
    let cut = |p: &String| p.split(['[', ']']).next().unwrap_or_default().to_owned();
    parts.iter().map(cut).collect()
}

fn topic(entry: &Entry, others: &[&Entry]) -> Topic {
    let key = entry.key;
    let mut topic =
        Topic::new("key", entry.path.clone(), key.doc).fact("type", key.kind.type_words());
    for other in others {
        topic = topic.fact("also", other.path.clone());
    }
    topic = topic.fact(
        "default",
        match key.default {
            Absent::Value(value) => value,
            Absent::Words(words) => words,
            Absent::Required => "none: it must be given",
        },
    );
    let range = key.kind.range_words();
    if !range.is_empty() {
        topic = topic.fact("range", range);
    }
    topic = topic.fact(
        "change",
        match key.reload {
            Reload::Live => "guardctl reload applies it",
            Reload::Restart => "needs a restart of guardd",
            Reload::EachRun => "a drill's file is read anew at each run",
        },
    );
    if !entry.enforced {
        topic = topic.fact("status", "accepted and checked, but not enforced by this version");
    }
    if !key.children().is_empty() {
        let names: Vec<&str> = key.children().iter().map(|k| k.name).collect();
        topic = topic.fact("keys", names.join(", "));
    }
    topic.example = example(entry, key);
    topic
}

/// The example below its table's header, with a real-looking name for the placeholder.
fn example(entry: &Entry, key: &Key) -> String {
    if key.example.is_empty() {
        return String::new();
    }
    let line = format!("{} = {}", key.name, key.example);
    let table = entry.path.rsplit_once('.').map_or("", |(table, _)| table);
    let parts: Vec<&str> = table.split('.').collect();
    match parts.as_slice() {
        ["recovery", "steps"] if BESIDE_STEPS.contains(&key.name) => {
            return format!(
                "[[recovery]]\nsteps = [ {{ exec = [\"/usr/local/bin/hook\"], {line} }} ]"
            );
        }
        ["recovery", "steps"] => return format!("[[recovery]]\nsteps = [ {{ {line} }} ]"),
        ["recovery", "steps", step, ..] => {
            return format!("[[recovery]]\nsteps = [ {{ {step} = {{ {line} }} }} ]");
        }
        ["drill"] => return line,
        ["drill", list] => return format!("[[{list}]]\n{line}"),
        ["drill", list, inner] => return format!("[[{list}]]\n{inner}.{line}"),
        _ => {}
    }
    let header = named(table);
    if let Some(inner) = header.strip_prefix("recovery.") {
        return format!("[[recovery]]\n{inner}.{line}");
    }
    let last = header.rsplit('.').next();
    if header == "recovery" || matches!(last, Some("schedule" | "budgets" | "io_max")) {
        format!("[[{header}]]\n{line}")
    } else {
        format!("[{header}]\n{line}")
    }
}

fn named(table: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for part in table.split('.') {
        let name = match out.last() {
            Some(&"services") => "github",
            Some(&"retry_policies") => "network_error",
            _ => "research",
        };
        out.push(if part == NAME { name } else { part });
    }
    out.join(".")
}
