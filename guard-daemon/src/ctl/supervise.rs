//! `guardctl exec --supervise`, and the supervisors that guardd starts.

use std::path::Path;
use std::time::Duration;

use super::cli::{ExecArgs, RestartWhen};
use super::client::Client;
use super::commands::block_on;
use crate::control::api::{ErrorBody, Policies, Status};
use crate::supervise::{AgentSpec, Policy, Restart, StopSpec, supervise};

const GUARD_FAILED: u8 = 125;

fn failed(error: String) -> ErrorBody {
    ErrorBody { error, help: String::new(), exit_code: GUARD_FAILED }
}

/// Supervises the agent of a file that guardd wrote, in a session of its own.
pub(super) fn of_guardd(spec: &Path) -> Result<u8, ErrorBody> {
    let spec = AgentSpec::read(spec).map_err(failed)?;
    if let Err(error) = nix::unistd::setsid() {
        tracing::debug!(%error, "no session of its own");
    }
    block_on(async { supervise(spec).await.map_err(failed) })
}

/// Supervises a command of an operator, in this terminal.
pub(super) fn by_hand(socket: &Path, arguments: &ExecArgs) -> Result<u8, ErrorBody> {
    let words = |word: &std::ffi::OsString| {
        word.to_str()
            .map(str::to_owned)
            .ok_or_else(|| failed(format!("{} is not UTF-8", word.display())))
    };
    let command = arguments.command.iter().map(words).collect::<Result<Vec<_>, _>>()?;
    let client = Client::new(socket);
    let status = block_on(async { Ok(client.get::<Status>("/v1/status").await?) })?;
    let bulkhead = status.bulkheads.iter().find(|b| b.name == arguments.bulkhead);
    let bulkhead = bulkhead.ok_or_else(|| ErrorBody {
        error: format!("there is no bulkhead {}", arguments.bulkhead),
        help: "guardctl status".into(),
        exit_code: GUARD_FAILED,
    })?;
    // How guard tries again, for agents that want to follow it; what the operator has set wins.
    let policies = block_on(async { Ok(client.get::<Policies>("/v1/policies").await?) });
    let policies = policies.unwrap_or_else(|error| {
        eprintln!("guardctl: the command gets no GUARD_RETRY_ variables: {}", error.error);
        Policies::default()
    });
    let is_new = |(name, _): &(String, String)| std::env::var_os(name).is_none();
    let environment = policies.environment.into_iter().filter(is_new).collect();
    let sub = match arguments.sub.as_deref() {
        None | Some("") => format!("supervised-{}", std::process::id()),
        Some(name) => name.to_owned(),
    };
    let restart = match arguments.restart {
        RestartWhen::Always => Restart::Always,
        RestartWhen::OnFailure => Restart::OnFailure,
        RestartWhen::Never => Restart::Never,
    };
    let spec = AgentSpec {
        name: sub.clone(),
        bulkhead: arguments.bulkhead.clone(),
        cgroup: Path::new(&bulkhead.cgroup).join(&sub),
        sub,
        socket: socket.to_owned(),
        command,
        directory: None,
        user: arguments.user.clone(),
        environment,
        clean: false,
        policy: Policy { restart, limit: arguments.start_limit, ..Policy::default() },
        health: None,
        stop: StopSpec { timeout: Duration::from_secs(10), ..StopSpec::default() },
        log: None,
        report: None,
        checkpoint: None,
    };
    block_on(async { supervise(spec).await.map_err(failed) })
}
