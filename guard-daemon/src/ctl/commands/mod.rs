//! The commands: each asks guardd one thing, prints one answer, and says with which code to exit.

mod agent;
mod breaker;
mod budget;
mod detach;
mod drill;
mod events;
mod fault;
mod recovery;

pub(super) use detach::Detached;

use std::path::Path;

use clap::CommandFactory as _;
use serde::Serialize;

use super::cli::{Cli, Command, Shell};
use super::client::{Client, ClientError, percent_encode};
use super::output::Output;
use super::{cleanup, doctor, offline, top, view};
use crate::control::api::{
    Done, ErrorBody, Faults, HaltRequest, JoinRequest, Joined, Reloaded, Status, Waits,
};

/// Runs a command other than `exec`.
pub(super) fn run(socket: &Path, command: Command, output: &Output) -> Result<u8, ErrorBody> {
    match command {
        Command::Check { files } => offline::check(&files, output),
        Command::Explain { topic } => offline::explain(&topic, output),
        Command::Completions { shell } => completions(shell),
        command => block_on(online(&Client::new(socket), command, output)),
    }
}

async fn online(client: &Client, command: Command, output: &Output) -> Result<u8, ErrorBody> {
    match command {
        Command::Doctor => doctor::run(client, output).await,
        Command::Status => {
            let answer: Status = client.get("/v1/status").await?;
            output.answer(&answer, |look| view::status(&answer, look))?;
            Ok(0)
        }
        Command::Top { interval } => {
            let interval = std::time::Duration::from_secs_f64(interval);
            top::run(client, output.is_json(), interval).await
        }
        Command::Waits => {
            let answer: Waits = client.get("/v1/waits").await?;
            output.answer(&answer, |look| view::waits(&answer, look))?;
            Ok(0)
        }
        Command::Events(arguments) => events::run(client, arguments, output).await,
        Command::Agent(command) => agent::run(client, command, output).await,
        Command::Checkpoint(command) => agent::checkpoint(client, command, output).await,
        Command::Budget(command) => budget::run(client, command, output).await,
        Command::Incidents(arguments) => recovery::incidents(client, arguments, output).await,
        Command::Recover(arguments) => recovery::recover(client, arguments, output).await,
        Command::Policy { env } => recovery::policy(client, env, output).await,
        Command::Breaker(command) => breaker::run(client, command, output).await,
        Command::Fault(command) => fault::run(client, command, output).await,
        Command::Drill(command) => drill::run(client, command, output).await,
        Command::Move { bulkhead, tree, pids } => {
            let request = JoinRequest { pids, tree, ..JoinRequest::default() };
            join(client, &bulkhead, &request, output).await
        }
        Command::Halt { reason } => {
            let request = HaltRequest { reason: reason.join(" ") };
            let answer: Faults = client.post("/v1/halt", &request).await?;
            output.answer(&answer, |look| view::halted(&answer, look))?;
            Ok(0)
        }
        Command::Resume => {
            let answer: Done = client.post("/v1/resume", &()).await?;
            output.answer(&answer, |_| view::done(&answer))?;
            Ok(0)
        }
        Command::Reload { dry_run } => reload(client, dry_run, output).await,
        Command::Cleanup { state_dir } => cleanup::run(client, &state_dir, output).await,
        Command::Version => version(client, output).await,
        Command::Check { .. }
        | Command::Explain { .. }
        | Command::Completions { .. }
        | Command::Exec(_)
        | Command::Hook(_)
        | Command::Supervise { .. } => {
            Err(internal("a command that needs no daemon was sent to it"))
        }
    }
}

async fn join(
    client: &Client,
    bulkhead: &str,
    request: &JoinRequest,
    output: &Output,
) -> Result<u8, ErrorBody> {
    let target = format!("/v1/bulkheads/{}/join", percent_encode(bulkhead));
    let answer: Joined = client.post(&target, request).await?;
    output.answer(&answer, |_| view::joined(bulkhead, &answer))?;
    Ok(0)
}

async fn reload(client: &Client, dry_run: bool, output: &Output) -> Result<u8, ErrorBody> {
    let target = format!("/v1/reload?dry_run={dry_run}");
    let answer: Reloaded = client.patient().post(&target, &()).await?;
    output.answer(&answer, |look| view::reloaded(&answer, dry_run, look))?;
    let differs = !(answer.changes.is_empty() && answer.needs_restart.is_empty());
    Ok(u8::from(dry_run && differs))
}

/// Answer to `version`. `"schema": "guard.version/1"`.
#[derive(Debug, Serialize)]
struct Versions {
    schema: &'static str,
    guardctl: &'static str,
    /// `None` if none answers.
    guardd: Option<String>,
}

async fn version(client: &Client, output: &Output) -> Result<u8, ErrorBody> {
    let (guardd, otherwise) = match client.get::<Status>("/v1/status").await {
        Ok(status) => (Some(status.version), String::new()),
        Err(error @ ClientError::NoDaemon { .. }) => (None, error.to_string()),
        Err(error) => (None, format!("unknown: {error}")),
    };
    let guardctl = env!("CARGO_PKG_VERSION");
    let answer = Versions { schema: "guard.version/1", guardctl, guardd };
    output.answer(&answer, |_| {
        let guardd = answer.guardd.as_deref().unwrap_or(&otherwise);
        format!("guardctl {guardctl}\nguardd   {guardd}\n")
    })?;
    Ok(0)
}

fn completions(shell: Shell) -> Result<u8, ErrorBody> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "guardctl", &mut script);
    Output::verbatim(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

/// Runs the asynchronous part of a command on this thread.
pub(super) fn block_on<T>(
    work: impl Future<Output = Result<T, ErrorBody>>,
) -> Result<T, ErrorBody> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| internal(&format!("no runtime: {error}")))?;
    runtime.block_on(work)
}

fn internal(error: &str) -> ErrorBody {
    ErrorBody { error: format!("guardctl: {error}"), help: String::new(), exit_code: 1 }
}
