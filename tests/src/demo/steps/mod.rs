//! The steps, one per file, in the order in which they are shown. Each makes its claims from what
//! it has measured itself.

use anyhow::Result;

use super::claim::{Claim, claim};
use super::stage::Stage;

mod breaker;
mod healing;
mod latency;
mod loss;
mod metrics;
mod normal;
mod others;
mod refusal;
mod sigkill;
mod status;
mod waits;

/// One step.
pub(crate) struct Step {
    /// Short, for the table.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) title: &'static str,
    /// Shows it.
    pub(crate) run: fn(&mut Stage) -> Result<Vec<Claim>>,
}

/// All of them.
pub(crate) const ALL: [Step; 10] = [
    Step { name: "normal", title: "normal traffic, guardd watching", run: normal::run },
    Step { name: "latency", title: "300 ms latency on research -> github only", run: latency::run },
    Step { name: "loss", title: "20 % loss on research -> github only", run: loss::run },
    Step { name: "refusal", title: "refused connects, with an errno of choice", run: refusal::run },
    Step { name: "waits", title: "who waits for what: a call that hangs", run: waits::run },
    Step { name: "breaker", title: "a sick service: its breaker opens", run: breaker::run },
    Step { name: "healing", title: "three failures, healed by nobody", run: healing::run },
    Step { name: "SIGKILL", title: "SIGKILL of guardd during a fault, restart", run: sigkill::run },
    Step { name: "status", title: "status", run: status::run },
    Step { name: "metrics", title: "metrics, compared with what an agent did", run: metrics::run },
];

/// Injects a fault into the demo's target as an operator would, and shows what guardctl says.
fn inject(stage: &Stage, effect: &[&str]) -> Result<()> {
    let target = ["fault", "inject", "--bulkhead", others::BULKHEAD, "--service", others::SERVICE];
    let said = stage.ctl(&[&target[..], effect].concat())?;
    stage.screen.text(&said);
    Ok(())
}
