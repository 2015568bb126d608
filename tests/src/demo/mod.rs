//! The demonstration. It makes things on the host (cgroups, kernel programs, netfilter rules,
//! processes) and must take every one of them away again, whatever happens to it: failure, panic
//! and Ctrl-C end in the same clean-up, and what a killed run left is removed by the next one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Parser;

mod agents;
mod claim;
mod daemon;
mod earlier;
mod interrupt;
mod leftovers;
mod measure;
mod preflight;
mod screen;
mod setup;
mod stage;
mod steps;

use claim::Row;
use interrupt::Interrupt;
use screen::Screen;
use setup::Setup;
use stage::Stage;

/// Shows guard at work on this host: needs root, takes about a minute, leaves nothing behind.
///
/// Exit codes: 0 every step did what it shows and nothing is left, 1 not so, 2 it could not
/// start, 130 interrupted.
#[derive(Parser)]
struct Options {
    /// Configuration of guardd; its addresses are those of the scripted servers.
    #[arg(long, default_value = "configs/demo.toml")]
    config: PathBuf,
}

/// The command.
pub(crate) fn main() -> ExitCode {
    let options = Options::parse();
    // Before anything is made: from here on Ctrl-C asks, and the clean-up answers.
    let interrupt = match Interrupt::install() {
        Ok(interrupt) => interrupt,
        Err(error) => return cannot_start(&error),
    };
    let screen = Screen::new(interrupt.clone());
    let setup = match Setup::read(&options.config) {
        Ok(setup) => setup,
        Err(error) => return cannot_start(&error),
    };
    let lock = match preflight::run(&setup, &screen) {
        Ok(lock) => lock,
        Err(error) => return cannot_start(&error),
    };
    let mut stage = Stage::new(setup, screen);
    let (rows, ended) = match catch_unwind(AssertUnwindSafe(|| perform(&mut stage))) {
        Ok(done) => done,
        Err(_) => (Vec::new(), Err(anyhow!("the demo itself panicked: see above"))),
    };
    let clean = stage.clear_away();
    // Until here no second demo may start.
    drop(lock);
    report(&stage.screen, &rows, ended, clean, &interrupt)
}

fn cannot_start(error: &anyhow::Error) -> ExitCode {
    eprintln!("guard-demo: {error:#}");
    ExitCode::from(2)
}

/// Every step that was reached, and why the demo ended early, if it did.
fn perform(stage: &mut Stage) -> (Vec<Row>, Result<()>) {
    let mut rows = Vec::new();
    if let Err(error) = stage.set_up() {
        return (rows, Err(error.context("setting the stage")));
    }
    for (number, step) in (1..).zip(steps::ALL) {
        let title = format!("{number} {}", step.name);
        stage.screen.heading(&format!("[{number}/{}] {}", steps::ALL.len(), step.title));
        let claims = match (step.run)(stage) {
            Ok(claims) => claims,
            Err(error) if stage.screen.interrupted() => return (rows, Err(error)),
            Err(error) => vec![claim::broken(step.title, &error)],
        };
        for claim in &claims {
            stage.screen.claim(claim);
        }
        rows.push(Row { title, claims });
        // A step that broke off must not disturb the next.
        if let Err(error) = stage.end_faults() {
            return (rows, Err(error));
        }
    }
    (rows, Ok(()))
}

/// The table and the verdict.
fn report(
    screen: &Screen,
    rows: &[Row],
    ended: Result<()>,
    clean: bool,
    interrupt: &Interrupt,
) -> ExitCode {
    screen.table(rows);
    let claims = rows.iter().flat_map(|row| &row.claims);
    let failed = claims.clone().filter(|claim| !claim.holds).count();
    let seconds = screen.seconds();
    if interrupt.came() {
        screen.line(&format!("\ninterrupted after {seconds:.0} s   exit 130"));
        return ExitCode::from(130);
    }
    if let Err(error) = ended {
        screen.line(&format!("\nFAILED: {error:#}   exit 1"));
        return ExitCode::FAILURE;
    }
    let well = failed == 0 && clean;
    screen.line(&format!(
        "\n{} claims, {failed} failed, {seconds:.0} s   exit {}",
        claims.count(),
        u8::from(!well)
    ));
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
