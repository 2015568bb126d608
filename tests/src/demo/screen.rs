//! What the demo shows: results on standard output, progress on standard error. ASCII, at most
//! 96 columns, and no colour or bar where there is no terminal.

use std::io::{IsTerminal, Stdout, Write, stderr, stdout};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use comfy_table::{ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};

use super::claim::{Claim, Row};
use super::interrupt::Interrupt;

const WIDTH: u16 = 96;
const TICK: Duration = Duration::from_millis(50);

/// The terminal, or the files in its place.
#[derive(Debug)]
pub(crate) struct Screen {
    interrupt: Interrupt,
    out: Stdout,
    colour: bool,
    bar: bool,
    started: Instant,
}

impl Screen {
    /// Looks where the output goes.
    pub(crate) fn new(interrupt: Interrupt) -> Self {
        let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = stdout().is_terminal() && unset("NO_COLOR") && !dumb;
        let bar = stderr().is_terminal() && !dumb;
        Self { interrupt, out: stdout(), colour, bar, started: Instant::now() }
    }

    /// Since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Whether somebody wants the demo to end.
    pub(crate) fn interrupted(&self) -> bool {
        self.interrupt.came()
    }

    /// One line.
    pub(crate) fn line(&self, text: &str) {
        // Nobody reads any more: the demo goes on, for it must clear away.
        drop(writeln!(self.out.lock(), "{text}"));
    }

    /// What a command printed, as it is.
    pub(crate) fn text(&self, text: &str) {
        text.lines().for_each(|line| self.line(line));
    }

    /// The beginning of a step.
    pub(crate) fn heading(&self, text: &str) {
        let text = if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() };
        self.line(&format!("\n{text}"));
    }

    /// A command that is about to be run; long ones as a shell would take them in two lines.
    pub(crate) fn command(&self, words: &[&str]) {
        let mut line = "  $".to_owned();
        for word in words {
            if line.len() + word.len() + 3 > usize::from(WIDTH) {
                self.line(&format!("{line} \\"));
                "     ".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }

    /// One claim, once it is decided.
    pub(crate) fn claim(&self, claim: &Claim) {
        let verdict = self.verdict(claim.holds);
        let pad = if claim.holds { "  " } else { "" };
        self.line(&format!("{pad}{verdict} {}: {}", claim.asked, claim.measured));
    }

    /// Waits and shows that it does; an error once somebody wants the demo to end.
    pub(crate) fn wait(&self, what: &str, duration: Duration) -> Result<()> {
        let start = Instant::now();
        let bar = self.start_bar(what, duration);
        while start.elapsed() < duration {
            ensure!(!self.interrupted(), "interrupted");
            thread::sleep(TICK.min(duration.saturating_sub(start.elapsed())));
            if let Some(bar) = &bar {
                bar.set_position(start.elapsed().as_millis() as u64);
            }
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        Ok(())
    }

    fn start_bar(&self, what: &str, duration: Duration) -> Option<ProgressBar> {
        if !self.bar {
            eprintln!("  ... {what}, {:.0} s", duration.as_secs_f64());
            return None;
        }
        let style = ProgressStyle::with_template("  [{bar:30}] {msg}").ok()?;
        let bar = ProgressBar::new(duration.as_millis() as u64);
        bar.set_style(style.progress_chars("#>-"));
        bar.set_message(what.to_owned());
        Some(bar)
    }

    /// The closing table: step, asked, measured, verdict.
    pub(crate) fn table(&self, rows: &[Row]) {
        if rows.is_empty() {
            return;
        }
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
        table.set_header(["STEP", "ASKED", "MEASURED", "VERDICT"]);
        for row in rows {
            let titles = std::iter::once(row.title.as_str()).chain(std::iter::repeat(""));
            for (title, claim) in titles.zip(&row.claims) {
                let verdict = if claim.holds { "ok" } else { "FAILED" };
                table.add_row([title, &claim.asked, &claim.measured, verdict]);
            }
        }
        self.line("");
        for line in table.to_string().lines() {
            let line = line.trim_end();
            let painted = [true, false].into_iter().find_map(|holds| {
                let rest = line.strip_suffix(word(holds))?;
                Some(format!("{rest}{}", self.verdict(holds)))
            });
            self.line(painted.as_deref().unwrap_or(line));
        }
    }

    fn verdict(&self, holds: bool) -> String {
        let word = word(holds);
        let colour = if holds { 32 } else { 31 };
        if self.colour { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() }
    }
}

fn word(holds: bool) -> &'static str {
    if holds { "ok" } else { "FAILED" }
}
