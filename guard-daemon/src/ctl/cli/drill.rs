//! The arguments of `guardctl drill`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::examples;

/// The commands below `drill`.
#[derive(Debug, Subcommand)]
pub enum DrillCommand {
    /// Run an experiment from a file, and judge it
    #[command(after_help = examples::DRILL_RUN)]
    Run(DrillRunArgs),
    /// The drill that runs now
    #[command(after_help = examples::DRILL_LIST)]
    List,
    /// End the drill that runs now, and its faults
    #[command(after_help = examples::DRILL_ABORT)]
    Abort,
}

/// Arguments of `drill run`.
#[derive(Args, Debug)]
pub struct DrillRunArgs {
    /// The drill file
    pub file: PathBuf,
    /// Only say what would be done, to whom: nothing is changed
    #[arg(long)]
    pub dry_run: bool,
    /// Write report.md, journal.json, junit.xml and charts into a directory of the run below DIR
    #[arg(long, value_name = "DIR", conflicts_with = "dry_run")]
    pub out: Option<PathBuf>,
    /// Run it in a process of its own, which neither this terminal nor this shell can end; exit 0
    /// when guardd has accepted it. Its verdict is in DIR
    #[arg(long, requires = "out", conflicts_with = "dry_run")]
    pub detach: bool,
    /// This is that process
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub own_session: bool,
    /// Seed of all random decisions, to run a drill again [default: the file's, or a new one]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}
