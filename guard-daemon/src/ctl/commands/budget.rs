//! `guardctl budget`: list, release.

use super::super::cli::BudgetCommand;
use super::super::client::Client;
use super::super::output::Output;
use super::super::view;
use crate::control::api::{BudgetRelease, Budgets, ErrorBody};

pub(super) async fn run(
    client: &Client,
    command: BudgetCommand,
    output: &Output,
) -> Result<u8, ErrorBody> {
    let answer: Budgets = match command {
        BudgetCommand::List => client.get("/v1/budgets").await?,
        BudgetCommand::Release { bulkhead } => {
            client.post("/v1/budgets", &BudgetRelease { bulkhead }).await?
        }
    };
    output.answer(&answer, |look| view::budgets(&answer, look))?;
    Ok(0)
}
