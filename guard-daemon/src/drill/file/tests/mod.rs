//! Tests of the reader of drills as a whole.

use super::*;
use crate::config::Severity;

mod bad;
mod fuzz;
mod good;
mod overlaps;
mod shipped;
mod table;

/// A small drill, and the numbers of its lines.
const SMALL: &str = "\
name = \"a\"
duration = \"60s\"
[[fault]]
bulkhead = \"research\"
service = \"github\"
loss = { percent = 2 }
[[steady_state]]
bulkhead = \"writing\"
success_rate_at_least = 0.95
";

/// A text that must be right.
fn drill(text: &str) -> Drill {
    loaded(text).drill
}

fn loaded(text: &str) -> LoadedDrill {
    parse("drill.toml", text).unwrap_or_else(|e| panic!("{}\n{text}", e.render(false)))
}

/// `LINE:COLUMN KEY: MESSAGE` of everything that is said about a text.
fn brief(text: &str) -> Vec<String> {
    let said = match parse("drill.toml", text) {
        Ok(loaded) => loaded.warnings,
        Err(errors) => errors.diagnostics,
    };
    said.iter()
        .map(|d| {
            let (line, column) = (d.line.unwrap_or(0), d.column.unwrap_or(0));
            let word = if d.severity == Severity::Warning { "warning: " } else { "" };
            format!("{line}:{column} {}: {word}{}", d.key, d.message)
        })
        .collect()
}
