//! The arguments of `guardctl`: what clap reads, nothing else. Values are checked for their
//! form here and for their meaning by guardd, which alone knows the configuration.

mod agent;
mod breaker;
mod budget;
mod drill;
mod examples;
mod fault;
mod recovery;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::styling::Styles;
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use agent::{AgentCommand, CheckpointCommand};
pub use breaker::{BreakerCommand, BreakerName};
pub use budget::BudgetCommand;
pub use drill::{DrillCommand, DrillRunArgs};
pub use fault::{FaultCommand, InjectArgs};
pub use recovery::{IncidentsArgs, RecoverArgs};

/// Where guardd listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/guard/guardd.sock";

/// Operate guard, the per-host reliability guard and fault injector of AI agents
#[derive(Debug, Parser)]
#[command(
    name = "guardctl",
    version,
    after_help = examples::GUARDCTL,
    styles = Styles::plain(),
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print one JSON document (events --follow: JSON lines), errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// Control socket of guardd
    #[arg(long, global = true, value_name = "PATH", env = "GUARD_SOCKET", hide_env_values = true, default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// When to use colour; auto: on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_name = "auto|always|never",
        hide_possible_values = true,
        env = "GUARD_COLOR",
        hide_env_values = true,
        default_value = "auto"
    )]
    pub color: Color,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    Auto,
    /// Even into a file.
    Always,
    /// Not at all.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Validate configuration and drill files, without a daemon
    #[command(after_help = examples::CHECK)]
    Check {
        /// Files to validate
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// What works on this host, what does not, and the cure
    #[command(after_help = examples::DOCTOR)]
    Doctor,
    /// Bulkheads, services, faults and problems now
    #[command(after_help = examples::STATUS)]
    Status,
    /// Bulkheads live: sort, select, look into one; keys on the screen
    #[command(after_help = examples::TOP)]
    Top {
        /// Seconds between two looks
        #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = top_interval)]
        interval: f64,
    },
    /// Who waits for what, since when
    #[command(after_help = examples::WAITS)]
    Waits,
    /// What happened: failed connects and calls, faults, reloads
    #[command(after_help = examples::EVENTS)]
    Events(EventsArgs),
    /// What a configuration key, class, state, outcome or exit code means
    #[command(after_help = examples::EXPLAIN)]
    Explain {
        /// A key (daemon.fault_lease), class, state or outcome, or `exit-codes`
        topic: String,
    },
    /// Run a command inside a bulkhead; tty, signals and exit code pass through
    #[command(after_help = examples::EXEC)]
    Exec(ExecArgs),
    /// Agents that guardd runs: how they are; start, stop, restart one
    #[command(subcommand, after_help = examples::AGENT)]
    Agent(AgentCommand),
    /// Checkpoints of an agent's state: save, list, restore
    #[command(subcommand, after_help = examples::CHECKPOINT)]
    Checkpoint(CheckpointCommand),
    /// What guardd starts for each agent
    #[command(hide = true, after_help = examples::SUPERVISE)]
    Supervise {
        /// What it is told of the agent
        spec: PathBuf,
    },
    /// What guardd starts for each run of a hook
    #[command(hide = true, after_help = examples::HOOK)]
    Hook(HookArgs),
    /// Move running processes into a bulkhead
    #[command(after_help = examples::MOVE)]
    Move {
        /// The bulkhead
        bulkhead: String,
        /// Their children too, and the children of those
        #[arg(long)]
        tree: bool,
        /// Processes to move
        #[arg(required = true, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
        pids: Vec<u32>,
    },
    /// Circuit breakers: how they stand and why; open, close, change them
    #[command(subcommand, after_help = examples::BREAKER)]
    Breaker(BreakerCommand),
    /// Budgets: what is used up of them; let a bulkhead go on
    #[command(subcommand, after_help = examples::BUDGET)]
    Budget(BudgetCommand),
    /// Disturb the network of a bulkhead, for a limited time
    #[command(subcommand, after_help = examples::FAULT)]
    Fault(FaultCommand),
    /// Experiments from a file: faults, what must hold meanwhile, and a verdict
    #[command(subcommand, after_help = examples::DRILL)]
    Drill(DrillCommand),
    /// What went wrong, what was done about it, and how it ended
    #[command(after_help = examples::INCIDENTS)]
    Incidents(IncidentsArgs),
    /// Run the steps of a recovery rule now
    #[command(after_help = examples::RECOVER)]
    Recover(RecoverArgs),
    /// How often and how fast to try again, by type of error: for agents to follow
    #[command(after_help = examples::POLICY)]
    Policy {
        /// As variables, for a shell or a unit file
        #[arg(long)]
        env: bool,
    },
    /// End all faults at once and refuse new ones
    #[command(after_help = examples::HALT)]
    Halt {
        /// Why; shown to whoever wants to inject the next fault
        #[arg(required = true)]
        reason: Vec<String>,
    },
    /// Allow faults again after `halt`
    #[command(after_help = examples::RESUME)]
    Resume,
    /// Make guardd read its configuration again, all or nothing
    #[command(after_help = examples::RELOAD)]
    Reload {
        /// Only say what would change: exit 0 nothing, 1 something
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove from this host what a dead guardd left; refused while one runs
    #[command(after_help = examples::CLEANUP)]
    Cleanup {
        /// daemon.state_dir of the guardd that is gone
        #[arg(long, value_name = "DIR", default_value = "/var/lib/guard")]
        state_dir: PathBuf,
    },
    /// Print the completion script of a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// The shell
        #[arg(value_name = "bash|zsh|fish", hide_possible_values = true)]
        shell: Shell,
    },
    /// Versions of guardctl and of the guardd that runs
    #[command(after_help = examples::VERSION)]
    Version,
}

fn top_interval(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.2..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("0.2 to 3600 seconds".to_owned()),
    }
}

/// Arguments of `events`.
#[derive(Args, Debug)]
pub struct EventsArgs {
    /// Go on with each new event, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// Only of this bulkhead
    #[arg(long, value_name = "B")]
    pub bulkhead: Option<String>,
    /// Only of this service
    #[arg(long, value_name = "S")]
    pub service: Option<String>,
    /// Only of this kind: connect_failed, call_failed, fault_injected, ...
    #[arg(long, value_name = "K")]
    pub kind: Option<String>,
    /// So many past events at most [default: 50, with --follow 10]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// Arguments of `exec`.
#[derive(Args, Debug)]
pub struct ExecArgs {
    /// The bulkhead
    pub bulkhead: String,
    /// Run it as this user: USER, USER:GROUP, or numbers; for root alone
    #[arg(long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Give it a cgroup of its own inside the bulkhead (run-PID without a name), gone when empty
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub sub: Option<String>,
    /// Stay as its parent and start it again when it has crashed; in a cgroup of its own
    #[arg(long)]
    pub supervise: bool,
    /// With --supervise: start it again always, on_failure or never
    #[arg(long, value_name = "WHEN", requires = "supervise", default_value = "on_failure")]
    pub restart: RestartWhen,
    /// With --supervise: give up after so many restarts in ten minutes
    #[arg(long, value_name = "N", requires = "supervise", default_value_t = 5)]
    pub start_limit: u32,
    /// Of a supervisor: this cgroup if guardd does not answer
    #[arg(long, hide = true, value_name = "PATH", conflicts_with = "supervise")]
    pub else_cgroup: Option<PathBuf>,
    /// Of a supervisor: this cgroup, without asking guardd
    #[arg(long, hide = true, value_name = "PATH", conflicts_with_all = ["supervise", "else_cgroup"])]
    pub in_cgroup: Option<PathBuf>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `hook`.
#[derive(Debug, Args)]
pub struct HookArgs {
    /// The cgroup of this run
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// Become this user first: USER or USER:GROUP
    #[arg(long)]
    pub user: Option<String>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<OsString>,
}

/// After which ends `exec --supervise` starts its command again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum RestartWhen {
    /// After every end.
    Always,
    /// After a signal or an exit code other than 0.
    OnFailure,
    /// Never.
    Never,
}

/// Shells with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

#[cfg(test)]
mod tests;
