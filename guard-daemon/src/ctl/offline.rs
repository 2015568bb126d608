//! `guardctl check` and `explain`: what needs no daemon. The only place of `ctl` that knows
//! `config`; it decides nothing about configurations and drills itself, but which of them a file is.

use std::path::{Path, PathBuf};

mod limits;

use serde::Serialize;

use super::output::Output;
use crate::config;
use crate::control::api::ErrorBody;
use crate::drill::{Drill, file as drill_file};

/// Answer to `check`. `"schema": "guard.check/1"`.
#[derive(Debug, Serialize)]
struct Checked {
    schema: &'static str,
    files: Vec<CheckedFile>,
}

/// One file of [`Checked`].
#[derive(Debug, Serialize)]
struct CheckedFile {
    path: PathBuf,
    kind: FileKind,
    valid: bool,
    /// Errors and warnings with their places.
    diagnostics: Vec<config::Diagnostic>,
    /// The same for people, with the pieces of the file; empty without any.
    #[serde(skip)]
    text: String,
    /// What a valid drill is, in a few words; empty for a configuration.
    #[serde(skip)]
    summary: String,
}

/// What a file is read as.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum FileKind {
    /// guardd's.
    Configuration,
    /// For `guardctl drill run`.
    Drill,
}

/// Validates each file: 0, or 2 if any is not valid.
pub(super) fn check(paths: &[PathBuf], output: &Output) -> Result<u8, ErrorBody> {
    let color = output.err_look().color;
    let files: Vec<CheckedFile> = paths.iter().map(|path| check_file(path, color)).collect();
    for file in files.iter().filter(|file| !file.text.is_empty()) {
        output.complain(&format!("{}\n", file.text.trim_end()));
    }
    let all_valid = files.iter().all(|file| file.valid);
    let answer = Checked { schema: "guard.check/1", files };
    output.answer(&answer, |_| answer.files.iter().map(line).collect())?;
    Ok(if all_valid { 0 } else { 2 })
}

fn line(file: &CheckedFile) -> String {
    let path = file.path.display();
    let summary = match file.summary.as_str() {
        "" => String::new(),
        summary => format!(" ({summary})"),
    };
    match (file.valid, file.diagnostics.len()) {
        (false, _) if matches!(file.kind, FileKind::Drill) => {
            format!("{path}: not a valid drill\n")
        }
        (false, _) => format!("{path}: not valid\n"),
        (true, 0) => format!("{path}: ok{summary}\n"),
        (true, 1) => format!("{path}: ok{summary}, 1 warning\n"),
        (true, warnings) => format!("{path}: ok{summary}, {warnings} warnings\n"),
    }
}

fn check_file(path: &Path, color: bool) -> CheckedFile {
    let mut kind = FileKind::Configuration;
    let mut summary = String::new();
    let (mut on_this_host, mut fatal) = (String::new(), false);
    let name = path.display().to_string();
    let read = config::read_text(path, config::IF_MISSING).and_then(|text| {
        if drill_file::is_drill(&text) {
            kind = FileKind::Drill;
            let loaded = drill_file::parse(&name, &text)?;
            summary = in_short(&loaded.drill);
            return Ok((loaded.render_warnings(color), loaded.warnings));
        }
        let loaded = config::parse(&name, &text)?;
        (on_this_host, fatal) = limits::on_this_host(&loaded.plan);
        Ok((loaded.render_warnings(color), loaded.warnings))
    });
    let (valid, text, diagnostics) = match read {
        Ok((text, warnings)) => (!fatal, text + &on_this_host, warnings),
        Err(errors) => (false, errors.render(color), errors.diagnostics),
    };
    CheckedFile { path: path.to_owned(), kind, valid, diagnostics, text, summary }
}

/// `drill github-brownout: 2 faults, 60s`.
fn in_short(drill: &Drill) -> String {
    let faults = drill.faults.len();
    let s = if faults == 1 { "" } else { "s" };
    format!("drill {}: {faults} fault{s}, {:?}", drill.name, drill.duration)
}

/// Says what a word means: 0, or an error with what may have been meant.
pub(super) fn explain(topic: &str, output: &Output) -> Result<u8, ErrorBody> {
    let found = config::explain::lookup(topic).map_err(|unknown| ErrorBody {
        error: unknown.to_string(),
        help: match unknown.suggestions.first() {
            Some(first) => format!("say it in full, for instance: guardctl explain {first}"),
            None => "guardctl explain --help shows examples".into(),
        },
        exit_code: 2,
    })?;
    output.answer(&found, |_| format!("{}\n", found.to_string().trim_end()))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRILL: &str = "name = \"a\"\nduration = \"60s\"\n[[fault]]\nbulkhead = \"b\"\n\
                         service = \"s\"\nloss = { percent = 1 }\nrefuse = { percent = 5 }\n\
                         [[steady_state]]\nhttp = \"http://127.0.0.1/\"\n";

    fn checked(text: &str) -> (String, serde_json::Value) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let checked = check_file(file.path(), false);
        let said = line(&checked);
        let said = said.split_once(": ").unwrap().1.to_owned();
        (said, serde_json::to_value(&checked).unwrap()["kind"].clone())
    }

    #[test]
    fn a_line_says_what_kind_of_file_it_is() {
        let said = |text: &str| checked(text).0;
        assert_eq!(said("[bulkheads.a]\n"), "ok\n");
        assert_eq!(said(""), "ok, 1 warning\n");
        assert_eq!(said("[bulkhead.a]\n"), "not valid\n");
        assert_eq!(said(DRILL), "ok (drill a: 2 faults, 60s)\n");
        let warned = DRILL.replace("service", "unsafe = true\nservice");
        assert_eq!(said(&warned), "ok (drill a: 2 faults, 60s), 1 warning\n");
        assert_eq!(said("name = \"a\"\n"), "not a valid drill\n");
        // With keys of both it is a configuration with unknown keys.
        assert_eq!(said(&format!("{DRILL}[daemon]\n")), "not valid\n");
        assert_eq!(checked(DRILL).1, "drill");
        assert_eq!(checked("").1, "configuration");
    }
}
