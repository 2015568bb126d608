//! `guardctl check` and `explain`: what needs no daemon. The only place of `ctl` that knows
//! `config`; it decides nothing about configurations itself.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::Output;
use crate::config;
use crate::control::api::ErrorBody;

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
    valid: bool,
    /// Errors and warnings with their places.
    diagnostics: Vec<config::Diagnostic>,
    /// The same for people, with the pieces of the file; empty without any.
    #[serde(skip)]
    text: String,
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
    match (file.valid, file.diagnostics.len()) {
        (false, _) => format!("{path}: not valid\n"),
        (true, 0) => format!("{path}: ok\n"),
        (true, 1) => format!("{path}: ok, 1 warning\n"),
        (true, warnings) => format!("{path}: ok, {warnings} warnings\n"),
    }
}

fn check_file(path: &Path, color: bool) -> CheckedFile {
    let (valid, text, diagnostics) = match config::load(path) {
        Ok(loaded) => (true, loaded.render_warnings(color), loaded.warnings),
        Err(errors) => (false, errors.render(color), errors.diagnostics),
    };
    CheckedFile { path: path.to_owned(), valid, diagnostics, text }
}

/// Says what a word means: 0, or an error with what may have been meant.
pub(super) fn explain(topic: &str, output: &Output) -> Result<u8, ErrorBody> {
    let found = config::explain::lookup(topic).map_err(|unknown| ErrorBody {
        error: unknown.to_string(),
        help: "guardctl explain --help shows examples".into(),
        exit_code: 2,
    })?;
    output.answer(&found, |_| format!("{}\n", found.to_string().trim_end()))?;
    Ok(0)
}
