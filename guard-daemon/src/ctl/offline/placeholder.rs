//! Stands in for `crate::config` until that is merged, with the part of its interface that
//! `guardctl` uses: TOML syntax only, and it says so. To be deleted then.

use std::path::Path;

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct Diagnostic {
    severity: &'static str,
    file: String,
    message: String,
}

impl Diagnostic {
    fn new(severity: &'static str, path: &Path, message: String) -> Self {
        Self { severity, file: path.display().to_string(), message }
    }

    fn render(&self) -> String {
        format!("{}: {}: {}\n", self.severity, self.file, self.message.trim_end())
    }
}

pub(super) struct Loaded {
    pub(super) warnings: Vec<Diagnostic>,
}

impl Loaded {
    pub(super) fn render_warnings(&self, _color: bool) -> String {
        self.warnings.iter().map(Diagnostic::render).collect()
    }
}

pub(super) struct ConfigErrors {
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl ConfigErrors {
    pub(super) fn render(&self, _color: bool) -> String {
        self.diagnostics.iter().map(Diagnostic::render).collect()
    }
}

pub(super) fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    let failed =
        |message| ConfigErrors { diagnostics: vec![Diagnostic::new("error", path, message)] };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    toml::from_str::<toml::Table>(&text).map_err(|error| failed(error.to_string()))?;
    let warning = "only its TOML syntax was checked by this build".to_owned();
    Ok(Loaded { warnings: vec![Diagnostic::new("warning", path, warning)] })
}

pub(super) mod explain {
    use serde::Serialize;
    use thiserror::Error;

    const WORD: &str = "response_timeout";

    #[derive(Debug, Serialize)]
    pub(in super::super) struct Topic {
        name: &'static str,
    }

    impl std::fmt::Display for Topic {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(
                f,
                "{}: no answer within call_timeout (the only word this build knows)",
                self.name
            )
        }
    }

    #[derive(Debug, Error)]
    #[error("nothing is known about `{0}`; did you mean: {WORD}?")]
    pub(in super::super) struct UnknownTopic(String);

    pub(in super::super) fn lookup(asked: &str) -> Result<Topic, UnknownTopic> {
        if asked == WORD { Ok(Topic { name: WORD }) } else { Err(UnknownTopic(asked.into())) }
    }
}
