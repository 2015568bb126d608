//! Runs test executables quietly: what cargo says passes through, of the tests only one line per
//! executable and the failures. All of it goes into a log; nothing is lost.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use super::parse::{Line, Parser, Summary};
use super::second_try;
use crate::executables::Executable;
use crate::stage::Case;

/// Reads commands one after the other.
pub(super) struct Stream {
    parser: Parser,
    log: File,
    terminal: bool,
    began: Instant,
    /// Tests of the last executable that failed.
    failed: Vec<String>,
}

impl Stream {
    /// Everything goes into this file.
    pub(super) fn new(log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let terminal = std::io::stderr().is_terminal();
        Ok(Self {
            parser: Parser::default(),
            log: file,
            terminal,
            began: Instant::now(),
            failed: Vec::new(),
        })
    }

    /// Runs a test executable; whether it succeeded as a whole.
    pub(super) fn executable(&mut self, executable: &Executable, args: &[&str]) -> Result<bool> {
        Ok(self.once(executable, args, 1)?.success())
    }

    /// The same; a few tests that failed are tried once more, each alone and with twice the patience.
    pub(super) fn patiently(&mut self, executable: &Executable, args: &[&str]) -> Result<bool> {
        let status = self.once(executable, args, 1)?;
        let failed = std::mem::take(&mut self.failed);
        let few = (1..=second_try::MOST).contains(&failed.len());
        if status.code() != Some(second_try::FAILED) || !few {
            return Ok(status.success());
        }
        let mut success = true;
        for test in &failed {
            eprintln!("  {test} is tried again");
            let alone = ["--show-output", "--test-threads=1", "--exact", test];
            success &= self.once(executable, &alone, second_try::PATIENCE)?.success();
        }
        Ok(success)
    }

    fn once(
        &mut self,
        executable: &Executable,
        args: &[&str],
        patience: u32,
    ) -> Result<ExitStatus> {
        self.failed.clear();
        let path = executable.path.display();
        self.line(format!("     Running {} ({path})\n", executable.name).as_bytes())?;
        self.run(executable.command(args)?.env(second_try::TIME_SCALE, patience.to_string()))
    }

    /// Runs any command; whether it succeeded.
    pub(super) fn command(&mut self, command: &mut Command) -> Result<bool> {
        Ok(self.run(command)?.success())
    }

    fn run(&mut self, command: &mut Command) -> Result<ExitStatus> {
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
        let mut from = BufReader::new(from);
        loop {
            // Bytes, because a test may print anything.
            let mut line = Vec::new();
            if from.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            self.line(&line)?;
        }
        child.wait().context("cannot wait for the tests")
    }

    /// All cases.
    pub(super) fn finish(self) -> Vec<Case> {
        second_try::passed_at_last(self.parser.finish())
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        self.log.write_all(line)?;
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches('\n');
        match self.parser.line(line) {
            Line::Cargo => eprintln!("{line}"),
            Line::Inside => {
                if self.terminal
                    && let Some(name) = line.strip_prefix("test ")
                {
                    eprint!("\r\x1b[K  {name:.70}");
                }
            }
            Line::Began(_) => self.began = Instant::now(),
            Line::Ended(summary) => {
                if self.terminal {
                    eprint!("\r\x1b[K");
                }
                show(&summary, self.began.elapsed().as_secs_f64());
                self.failed = summary.failed;
            }
        }
        Ok(())
    }
}

/// One line for an executable that has tests, and one for each that failed.
fn show(summary: &Summary, seconds: f64) {
    if summary.has_tests() {
        eprintln!("  {}", summary.show(seconds));
    }
}
