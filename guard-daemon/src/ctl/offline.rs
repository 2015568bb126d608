//! `guardctl check` and `explain`: what needs no daemon. The only place of `ctl` that knows
//! [`config`]; it decides nothing about configurations itself.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::Output;
use super::topics;
use crate::control::api::ErrorBody;
use placeholder as config;

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
    warnings: Vec<String>,
    /// Every error with its place; empty if valid.
    errors: String,
}

/// Answer to `explain`. `"schema": "guard.explain/1"`.
#[derive(Debug, Serialize)]
struct Explained<'a> {
    schema: &'static str,
    topic: &'a str,
    text: String,
}

/// Validates each file: 0, or 2 if any is not valid.
pub(super) fn check(paths: &[PathBuf], output: &Output) -> Result<u8, ErrorBody> {
    let color = !output.is_json() && output.err_look().color;
    let files: Vec<CheckedFile> = paths.iter().map(|path| check_file(path, color)).collect();
    let all_valid = files.iter().all(|file| file.valid);
    for file in &files {
        output.complain(&file.errors);
        for warning in &file.warnings {
            output.complain(&format!("warning: {}: {warning}\n", file.path.display()));
        }
    }
    let answer = Checked { schema: "guard.check/1", files };
    output.answer(&answer, |_| {
        answer
            .files
            .iter()
            .map(|file| {
                let path = file.path.display();
                match (file.valid, file.warnings.len()) {
                    (false, _) => format!("{path}: not valid\n"),
                    (true, 0) => format!("{path}: ok\n"),
                    (true, warnings) => format!("{path}: ok, {warnings} warnings\n"),
                }
            })
            .collect()
    })?;
    Ok(if all_valid { 0 } else { 2 })
}

/// Says what a word means: 0, or an error with the nearest word.
pub(super) fn explain(topic: &str, output: &Output) -> Result<u8, ErrorBody> {
    let Some(text) = config_explain(topic).or_else(|| topics::explain(topic)) else {
        return Err(ErrorBody {
            error: format!("nothing is known about {topic:?}"),
            help: topics::suggestion(topic),
            exit_code: 2,
        });
    };
    let answer = Explained { schema: "guard.explain/1", topic, text };
    output.answer(&answer, |_| format!("{}\n", answer.text.trim_end()))?;
    Ok(0)
}

// The two call sites of `config`.

fn check_file(path: &Path, color: bool) -> CheckedFile {
    let (warnings, errors) = match config::load(path) {
        Ok(loaded) => (loaded.warnings, String::new()),
        Err(errors) => (Vec::new(), errors.render(color)),
    };
    CheckedFile { path: path.to_owned(), valid: errors.is_empty(), warnings, errors }
}

fn config_explain(topic: &str) -> Option<String> {
    config::explain(topic)
}

/// Stands in for `crate::config` until that is merged: TOML syntax only, and it says so.
mod placeholder {
    use std::path::Path;

    pub(super) struct Loaded {
        pub(super) warnings: Vec<String>,
    }

    pub(super) struct ConfigErrors(String);

    impl ConfigErrors {
        pub(super) fn render(&self, _color: bool) -> String {
            format!("error: {}\n", self.0.trim_end())
        }
    }

    pub(super) fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
        let place =
            |error: &dyn std::fmt::Display| ConfigErrors(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| place(&error))?;
        toml::from_str::<toml::Table>(&text).map_err(|error| place(&error))?;
        Ok(Loaded { warnings: vec!["only its TOML syntax was checked by this build".into()] })
    }

    pub(super) fn explain(_topic: &str) -> Option<String> {
        None
    }
}
