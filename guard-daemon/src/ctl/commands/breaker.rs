//! `guardctl breaker`: list, trip, reset, mode.

use super::super::cli::{BreakerCommand, BreakerName};
use super::super::client::Client;
use super::super::output::Output;
use super::super::view;
use crate::control::api::{BreakerAction, BreakerRequest, Breakers, ErrorBody};

pub(super) async fn run(
    client: &Client,
    command: BreakerCommand,
    output: &Output,
) -> Result<u8, ErrorBody> {
    let answer: Breakers = match command {
        BreakerCommand::List => client.get("/v1/breakers").await?,
        BreakerCommand::Trip { name } => change(client, name, BreakerAction::Trip, None).await?,
        BreakerCommand::Reset { name } => change(client, name, BreakerAction::Reset, None).await?,
        BreakerCommand::Mode { name, mode } => {
            change(client, name, BreakerAction::Mode, Some(mode)).await?
        }
    };
    output.answer(&answer, |look| view::breakers(&answer, look))?;
    Ok(0)
}

async fn change(
    client: &Client,
    name: BreakerName,
    action: BreakerAction,
    mode: Option<String>,
) -> Result<Breakers, ErrorBody> {
    let BreakerName { bulkhead, service } = name;
    let request = BreakerRequest { bulkhead, service, action, mode };
    Ok(client.post("/v1/breakers", &request).await?)
}
