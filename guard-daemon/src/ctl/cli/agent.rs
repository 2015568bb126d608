//! The arguments of `guardctl agent` and `guardctl checkpoint`.

use clap::Subcommand;

use super::examples;

/// The commands below `agent`.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Every agent: whether it runs, since when, how often it was started again
    #[command(after_help = examples::AGENT_LIST)]
    List,
    /// Start an agent that was stopped, has ended, or was given up
    #[command(after_help = examples::AGENT_START)]
    Start {
        /// Which one
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Stop an agent; it stays stopped, also when guardd starts again
    #[command(after_help = examples::AGENT_STOP)]
    Stop {
        /// Which one
        #[arg(value_name = "NAME", required_unless_present = "all")]
        name: Option<String>,
        /// All of them, each before those that it is `after`
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Stop an agent and start it, with the configuration in force
    #[command(after_help = examples::AGENT_RESTART)]
    Restart {
        /// Which one
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// The commands below `checkpoint`.
#[derive(Debug, Subcommand)]
pub enum CheckpointCommand {
    /// Save the agent's state now; it stands still for a moment
    #[command(after_help = examples::CHECKPOINT_SAVE)]
    Save {
        /// The bulkhead, or the agent
        #[arg(value_name = "BULKHEAD")]
        target: String,
    },
    /// The checkpoints that there are, newest first
    #[command(after_help = examples::CHECKPOINT_LIST)]
    List {
        /// The bulkhead, or the agent
        #[arg(value_name = "BULKHEAD")]
        target: String,
    },
    /// Stop the agent, put a checkpoint back, start it; the state before is kept beside
    #[command(after_help = examples::CHECKPOINT_RESTORE)]
    Restore {
        /// The bulkhead, or the agent
        #[arg(value_name = "BULKHEAD")]
        target: String,
        /// This one, not the newest good one
        #[arg(long, value_name = "N")]
        number: Option<u64>,
    },
}
