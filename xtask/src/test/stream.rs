//! Runs a test command quietly: what cargo says passes through, of the tests only one line per
//! executable and the failures. All of it goes into a log; nothing is lost.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use super::parse::{Line, Parser, Summary};
use crate::stage::Case;

/// Runs the command; its cases, and whether it succeeded as a whole.
pub(super) fn run(command: &mut Command, log: &Path) -> Result<(Vec<Case>, bool)> {
    let mut log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let terminal = std::io::stderr().is_terminal();
    // One pipe for both, so that cargo's and the executables' lines keep their order.
    let (from, to) = std::io::pipe().context("cannot make a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(to.try_clone().context("cannot copy a pipe's end")?)
        .stderr(to)
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    // The command keeps its copies of the pipe's end, and with them the pipe open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut parser = Parser::default();
    let mut from = BufReader::new(from);
    let mut began = Instant::now();
    loop {
        // Bytes, because a test may print anything.
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        log.write_all(&line)?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\n');
        match parser.line(line) {
            Line::Cargo => eprintln!("{line}"),
            Line::Inside => {
                if terminal && let Some(name) = line.strip_prefix("test ") {
                    eprint!("\r\x1b[K  {name:.70}");
                }
            }
            Line::Began(_) => began = Instant::now(),
            Line::Ended(summary) => {
                if terminal {
                    eprint!("\r\x1b[K");
                }
                show(&summary, began.elapsed().as_secs_f64());
            }
        }
    }
    let success = child.wait().context("cannot wait for the tests")?.success();
    Ok((parser.finish(), success))
}

/// One line for an executable that has tests, and one for each that failed.
fn show(summary: &Summary, seconds: f64) {
    if summary.has_tests() {
        eprintln!("  {}", summary.show(seconds));
    }
}
