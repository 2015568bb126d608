//! The arguments of `guardctl recover` and `incidents`.

use clap::Args;

/// Arguments of `recover`.
#[derive(Args, Debug)]
pub struct RecoverArgs {
    /// The rule, or `success-rate`, which is built in
    pub rule: String,
    /// For whom, where the rule does not say
    #[arg(long, value_name = "B")]
    pub bulkhead: Option<String>,
    /// Calls to what, where the rule does not say
    #[arg(long, value_name = "S")]
    pub service: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `incidents`.
#[derive(Args, Debug)]
pub struct IncidentsArgs {
    /// One of them, with its timeline
    pub id: Option<u64>,
    /// Only those that go on
    #[arg(long)]
    pub active: bool,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}
