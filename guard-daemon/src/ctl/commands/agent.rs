//! `guardctl agent` and `guardctl checkpoint`.

use super::super::cli::{AgentCommand, CheckpointCommand};
use super::super::client::Client;
use super::super::output::Output;
use super::super::view;
use crate::control::api::{
    AgentAction, AgentRequest, Agents, CheckpointAction, CheckpointRequest, Checkpoints, ErrorBody,
};

pub(super) async fn run(
    client: &Client,
    command: AgentCommand,
    output: &Output,
) -> Result<u8, ErrorBody> {
    let (name, action) = match command {
        AgentCommand::List => {
            let answer: Agents = client.get("/v1/agents").await?;
            output.answer(&answer, |look| view::agents(&answer, look))?;
            return Ok(0);
        }
        AgentCommand::Start { name } => (Some(name), AgentAction::Start),
        AgentCommand::Stop { name, all: _ } => (name, AgentAction::Stop),
        AgentCommand::Restart { name } => (Some(name), AgentAction::Restart),
    };
    // An agent may take its time to end.
    let request = AgentRequest { name, action };
    let answer: Agents = client.patient().post("/v1/agents", &request).await?;
    output.answer(&answer, |look| view::agents(&answer, look))?;
    Ok(0)
}

pub(super) async fn checkpoint(
    client: &Client,
    command: CheckpointCommand,
    output: &Output,
) -> Result<u8, ErrorBody> {
    let (target, action, number) = match command {
        CheckpointCommand::Save { target } => (target, CheckpointAction::Save, None),
        CheckpointCommand::List { target } => (target, CheckpointAction::List, None),
        CheckpointCommand::Restore { target, number } => {
            (target, CheckpointAction::Restore, number)
        }
    };
    let request = CheckpointRequest { target, action, number };
    let answer: Checkpoints = client.patient().post("/v1/checkpoints", &request).await?;
    output.answer(&answer, |look| view::checkpoints(&answer, look))?;
    Ok(0)
}
