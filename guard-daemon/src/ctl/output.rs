//! What `guardctl` prints: with `--json` one document on standard output, else text; errors go
//! to standard error, with `--json` to standard output. Pure ASCII where nobody looks on,
//! because readers of pipes guess encodings wrongly.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::cli::{Color, Global};
use super::view::{Look, Tone};
use crate::control::api::ErrorBody;

/// Columns without a terminal to ask.
const PIPE_WIDTH: usize = 96;

/// How to print.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
    out: Look,
    err: Look,
}

impl Output {
    pub(super) fn new(global: &Global) -> Self {
        let look = |terminal: bool, width: Option<usize>| Look {
            color: wants_color(global.color, terminal),
            ascii: !terminal,
            width: width.unwrap_or(PIPE_WIDTH),
        };
        let (stdout, stderr) = (io::stdout(), io::stderr());
        Self {
            json: global.json,
            out: look(stdout.is_terminal(), columns(&stdout)),
            err: look(stderr.is_terminal(), columns(&stderr)),
        }
    }

    /// For errors before the arguments are known.
    pub(super) fn json() -> Self {
        let look = Look { color: false, ascii: true, width: PIPE_WIDTH };
        Self { json: true, out: look, err: look }
    }

    /// Whether a document is asked for.
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// How standard error looks.
    pub(super) fn err_look(&self) -> &Look {
        &self.err
    }

    /// The one answer of a command.
    pub(super) fn answer<T: Serialize>(
        &self,
        value: &T,
        human: impl FnOnce(&Look) -> String,
    ) -> Result<(), ErrorBody> {
        if self.json { print(&document(value, true)?) } else { self.text(human) }.map(drop)
    }

    /// One of many answers (a line of a stream). `false`: the reader has gone, stop.
    pub(super) fn item<T: Serialize>(
        &self,
        value: &T,
        human: impl FnOnce(&Look) -> String,
    ) -> Result<bool, ErrorBody> {
        if self.json { print(&document(value, false)?) } else { self.text(human) }
    }

    /// Text before the answer; nothing with `--json`.
    pub(super) fn remark(&self, human: impl FnOnce(&Look) -> String) -> Result<(), ErrorBody> {
        if self.json { Ok(()) } else { self.text(human).map(drop) }
    }

    /// A whole text that is the answer as it is (a completion script).
    pub(super) fn verbatim(text: &str) -> Result<(), ErrorBody> {
        print(text).map(drop)
    }

    /// Text on standard error; nothing with `--json`.
    pub(super) fn complain(&self, text: &str) {
        if !self.json {
            to_stderr(&self.err.encode(text));
        }
    }

    /// An error: the last thing printed.
    pub(super) fn failure(&self, body: &ErrorBody) {
        if self.json {
            let printed = document(body, true).and_then(|text| print(&text));
            if let Err(body) = printed {
                to_stderr(&format!("error: {}\n", body.error));
            }
            return;
        }
        let mut text =
            format!("{}: {}\n", self.err.paint(Tone::Bad, "error"), body.error.trim_end());
        if !body.help.is_empty() {
            text.push_str("  help: ");
            text.push_str(&body.help);
            text.push('\n');
        }
        to_stderr(&self.err.encode(&text));
    }

    fn text(&self, human: impl FnOnce(&Look) -> String) -> Result<bool, ErrorBody> {
        print(&self.out.encode(&human(&self.out)))
    }
}

/// `false`: the reader has gone (`| head`), which is not an error.
fn print(text: &str) -> Result<bool, ErrorBody> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(ErrorBody {
            error: format!("cannot write to standard output: {error}"),
            help: "the command itself was done".into(),
            exit_code: 1,
        }),
    }
}

fn to_stderr(text: &str) {
    if io::stderr().lock().write_all(text.as_bytes()).is_err() {
        // Nobody is left to be told.
    }
}

fn columns<S: std::os::fd::AsFd>(stream: &S) -> Option<usize> {
    terminal_size::terminal_size_of(stream).map(|(width, _)| usize::from(width.0).max(40))
}

fn wants_color(color: Color, terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
        }
    }
}

/// JSON in ASCII, with a newline at its end.
fn document<T: Serialize>(value: &T, pretty: bool) -> Result<String, ErrorBody> {
    let text =
        if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    let text = text.map_err(|error| ErrorBody {
        error: format!("the answer cannot be written as JSON: {error}"),
        help: "run it without --json".into(),
        exit_code: 1,
    })?;
    Ok(escape_non_ascii(&text) + "\n")
}

/// Outside of strings JSON is ASCII anyway, so every other character may become `\uXXXX`.
pub(crate) fn escape_non_ascii(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() && letter != '\u{7f}' {
            escaped.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            escaped.push_str(&format!("\\u{unit:04x}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_ascii_and_reads_back_as_it_was() {
        let value = "caf\u{e9} \u{1f980} \u{1b}[31m \"x\"\u{7f}";
        let text = document(&value, false).unwrap();
        assert!(text.is_ascii(), "{text}");
        assert!(text.contains("\\u00e9") && text.contains("\\ud83e\\udd80"), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
    }
}
