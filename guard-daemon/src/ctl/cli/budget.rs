//! The arguments of `guardctl budget`.

use clap::Subcommand;

use super::examples;

/// The commands below `budget`.
#[derive(Debug, Subcommand)]
pub enum BudgetCommand {
    /// Every budget: what is used of it, and until when
    #[command(after_help = examples::BUDGET_LIST)]
    List,
    /// Let a bulkhead go on until its periods end, though its budgets are used up
    #[command(after_help = examples::BUDGET_RELEASE)]
    Release {
        /// Which one
        #[arg(value_name = "BULKHEAD")]
        bulkhead: String,
    },
}
