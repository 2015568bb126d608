//! Tests of the reader as a whole.

use super::*;

mod agents;
mod bad;
mod edges;
mod fallbacks;
mod fuzz;
mod good;
mod shipped;
mod steps;
mod values;

/// The errors of a text, rendered without colour.
fn errors(text: &str) -> String {
    match parse("guard.toml", text) {
        Ok(loaded) => panic!("accepted: {text}\n{:#?}", loaded.plan),
        Err(errors) => errors.render(false),
    }
}

/// `LINE:COLUMN KEY: MESSAGE` of every error.
fn brief(text: &str) -> Vec<String> {
    let Err(errors) = parse("guard.toml", text) else { return Vec::new() };
    let only = errors.diagnostics.iter().filter(|d| d.severity == Severity::Error);
    only.map(|d| {
        let (line, column) = (d.line.unwrap_or(0), d.column.unwrap_or(0));
        format!("{line}:{column} {}: {}", d.key, d.message)
    })
    .collect()
}
