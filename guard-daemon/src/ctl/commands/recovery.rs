//! `guardctl incidents`, `recover` and `policy`.

use super::super::cli::{IncidentsArgs, RecoverArgs};
use super::super::client::Client;
use super::super::output::Output;
use super::super::view;
use crate::control::api::{ErrorBody, Incidents, Policies, RecoverRequest, Recovered};

pub(super) async fn incidents(
    client: &Client,
    IncidentsArgs { id, active, limit }: IncidentsArgs,
    output: &Output,
) -> Result<u8, ErrorBody> {
    let mut answer: Incidents = client.get("/v1/incidents").await?;
    if let Some(id) = id {
        answer.incidents.retain(|record| record.incident.id == id);
        if answer.incidents.is_empty() {
            return Err(ErrorBody {
                error: format!("no incident has the number {id}"),
                help: "guardctl incidents".into(),
                exit_code: 2,
            });
        }
    }
    if active {
        answer.incidents.retain(|record| record.incident.closed.is_none());
    }
    let older = answer.incidents.len().saturating_sub(limit);
    answer.incidents.drain(..older);
    output.answer(&answer, |look| match id {
        Some(_) => view::incident(&answer, look),
        None => view::incidents(&answer, look),
    })?;
    Ok(0)
}

pub(super) async fn recover(
    client: &Client,
    RecoverArgs { rule, bulkhead, service, dry_run }: RecoverArgs,
    output: &Output,
) -> Result<u8, ErrorBody> {
    let request = RecoverRequest { rule, bulkhead, service, dry_run };
    let answer: Recovered = client.patient().post("/v1/recover", &request).await?;
    output.answer(&answer, |look| view::recovered(&answer, look))?;
    Ok(u8::from(answer.helped == Some(false)))
}

pub(super) async fn policy(client: &Client, env: bool, output: &Output) -> Result<u8, ErrorBody> {
    let answer: Policies = client.get("/v1/policies").await?;
    output.answer(&answer, |look| view::policies(&answer, env, look))?;
    Ok(0)
}
