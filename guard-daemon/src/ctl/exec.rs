//! `guardctl exec`: joins the bulkhead with its own pid, then becomes the command. So terminal,
//! signals, exit code, environment and directory pass through without any help of guard's.
//! Prints nothing of its own unless it fails.
//!
//! Exit codes as env(1): 125 guard failed, 126 the command cannot run, 127 it was not found.
//! The standard library's exec gives the command the default SIGPIPE; the mask is the caller's.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::cli::ExecArgs;
use super::client::{Client, percent_encode};
use super::commands::block_on;
use crate::control::api::{ErrorBody, JoinRequest, Joined};

const GUARD_FAILED: u8 = 125;
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Becomes the command; comes back only with the reason why not.
pub(super) fn run(socket: &Path, arguments: &ExecArgs) -> ErrorBody {
    match join(socket, &arguments.bulkhead) {
        Ok(()) => become_command(arguments),
        Err(body) => ErrorBody { exit_code: GUARD_FAILED, ..body },
    }
}

fn join(socket: &Path, bulkhead: &str) -> Result<(), ErrorBody> {
    let target = format!("/v1/bulkheads/{}/join", percent_encode(bulkhead));
    let client = Client::new(socket);
    let request = async { client.post::<Joined>(&target, &JoinRequest::default()).await };
    let joined = block_on(async { Ok(request.await?) })?;
    if joined.moved.contains(&std::process::id()) {
        return Ok(());
    }
    Err(ErrorBody {
        error: format!(
            "guardd moved {:?} into {bulkhead}, not this process ({})",
            joined.moved,
            std::process::id()
        ),
        help:
            "guardctl in another pid namespace than guardd cannot move itself: run it on the host"
                .into(),
        exit_code: GUARD_FAILED,
    })
}

fn become_command(arguments: &ExecArgs) -> ErrorBody {
    let Some((program, rest)) = arguments.command.split_first() else {
        return ErrorBody {
            error: "no command".into(),
            help: "guardctl exec BULKHEAD -- CMD".into(),
            exit_code: GUARD_FAILED,
        };
    };
    let error = Command::new(program).args(rest).exec();
    let (exit_code, help) = match error.kind() {
        io::ErrorKind::NotFound => (NOT_FOUND, "not found on PATH, or its interpreter is missing"),
        io::ErrorKind::PermissionDenied => {
            (CANNOT_RUN, "the file must be executable for this user")
        }
        _ => (CANNOT_RUN, ""),
    };
    let error = format!("cannot run {}: {error}", program.to_string_lossy());
    ErrorBody { error, help: help.into(), exit_code }
}
