//! The files of one run, made from its [`Record`]: for people, for Chaos Toolkit, for CI.
//!
//! | file | for |
//! |---|---|
//! | `record.json` | the record itself; all others are made from it |
//! | `journal.json` | tools that read Chaos Toolkit's journals |
//! | `report.md` | people |
//! | `junit.xml` | CI |
//! | `success.svg`, `latency.svg`, `breakers.svg` | people; `report.md` shows them |
//!
//! It judges nothing: what held is in the record. It must never write over another run, leave half
//! a file, or let a name from outside (a purpose, a service) break a format.

#![allow(
    clippy::format_push_string,
    reason = "write! into a String needs an error handled that cannot happen; this runs once per drill"
)]

mod charts;
mod error;
mod journal;
mod junit;
mod phases;
mod report;
mod save;
mod states;
mod summary;
mod times;
mod words;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use error::ResultsError;
pub use summary::summary;

use super::Record;

/// How the text of a file is made; an error is one sentence.
type Maker = fn(&Record) -> Result<String, String>;

/// In the order in which they are written: should the disk become full, the first is worth most.
const FILES: [(&str, Maker); 7] = [
    ("record.json", record_json),
    ("journal.json", journal::text),
    ("report.md", |record| Ok(report::text(record))),
    ("junit.xml", junit::text),
    ("success.svg", charts::success),
    ("latency.svg", charts::latency),
    ("breakers.svg", charts::breakers),
];

/// Makes `DIRECTORY/RUN_ID/` (mode 0755, less the umask; parents as needed) and writes every file
/// into it, each under a temporary name first. Returns the paths, `record.json` first.
///
/// A file that cannot be written does not keep the others from being written; the first such error
/// is returned. A run that is there already is an error, and nothing is changed.
pub fn write(record: &Record, directory: &Path) -> Result<Vec<PathBuf>, ResultsError> {
    let directory = save::make_directory(directory, &record.run_id)?;
    let mut paths = Vec::with_capacity(FILES.len());
    let mut first_error = None;
    for (name, make) in FILES {
        let path = directory.join(name);
        let saved = make(record)
            .map_err(|why| ResultsError::Content { path: path.clone(), why })
            .and_then(|text| save::file(&directory, name, &text));
        match saved {
            Ok(()) => paths.push(path),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    save::sync(&directory)?;
    first_error.map_or(Ok(paths), Err)
}

/// Whether [`write()`] will be able to write into a directory, which is made if need be: asked before
/// a drill begins, so that no numbers are lost for want of a place.
pub fn check_directory(directory: &Path) -> Result<(), ResultsError> {
    save::try_directory(directory)
}

fn record_json(record: &Record) -> Result<String, String> {
    words::json(record)
}
