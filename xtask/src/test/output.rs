//! Runs a command, passes its output on as it comes, and keeps it.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow};

/// Lines of standard output and then of standard error, and whether the command succeeded.
pub(crate) fn run(command: &mut Command) -> Result<(Vec<String>, bool)> {
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let stderr = child.stderr.take().context("no pipe for standard error")?;
    let stdout = child.stdout.take().context("no pipe for standard output")?;
    let errors = thread::spawn(move || pass_on(stderr, std::io::stderr()));
    let mut lines = pass_on(stdout, std::io::stdout())?;
    lines.extend(errors.join().map_err(|_| anyhow!("the reader of standard error died"))??);
    Ok((lines, child.wait()?.success()))
}

fn pass_on(from: impl Read, mut to: impl Write) -> Result<Vec<String>> {
    let mut from = BufReader::new(from);
    let mut lines = Vec::new();
    loop {
        // Bytes, because a test may print anything.
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line)? == 0 {
            return Ok(lines);
        }
        to.write_all(&line)?;
        to.flush()?;
        lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
    }
}
