//! `guardctl exec`: joins the bulkhead with its own pid, then becomes the command. So terminal,
//! signals, exit code, environment and directory pass through without any help of guard's. With
//! `--user` it has become that user before.
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
use super::user::{self, Identity};
use crate::control::api::{ErrorBody, JoinRequest, Joined};

const GUARD_FAILED: u8 = 125;
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Becomes the command; comes back only with the reason why not.
pub(super) fn run(socket: &Path, arguments: &ExecArgs) -> ErrorBody {
    let failed = |body| ErrorBody { exit_code: GUARD_FAILED, ..body };
    // Whatever can be wrong with the user is wrong before anything is moved.
    let identity = match arguments.user.as_deref().map(identity).transpose() {
        Ok(identity) => identity,
        Err(body) => return failed(body),
    };
    match enter(socket, arguments) {
        Ok(()) => become_command(arguments, identity.as_ref()),
        Err(body) => failed(body),
    }
}

fn identity(text: &str) -> Result<Identity, ErrorBody> {
    let found = user::find(text).and_then(|identity| identity.check().map(|()| identity));
    found.map_err(|error| ErrorBody {
        error: format!("--user {text}: {error}"),
        help: "USER, USER:GROUP, or numbers of both; as root".into(),
        exit_code: GUARD_FAILED,
    })
}

/// Into the bulkhead. A supervisor's agent goes there without guardd too, once it knows where.
fn enter(socket: &Path, arguments: &ExecArgs) -> Result<(), ErrorBody> {
    const NO_DAEMON: u8 = 4;
    if let Some(cgroup) = &arguments.in_cgroup {
        // Never made: of a health command that comes too late nothing may be left.
        return directly(cgroup);
    }
    let joined = join(socket, arguments);
    match (&arguments.else_cgroup, joined) {
        (Some(cgroup), Err(body)) if body.exit_code == NO_DAEMON => {
            make_again(cgroup).and_then(|()| directly(cgroup))
        }
        (_, joined) => joined,
    }
}

/// Makes an agent's own cgroup again; the one of its bulkhead must be there.
fn make_again(cgroup: &Path) -> Result<(), ErrorBody> {
    match std::fs::create_dir(cgroup) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(not_joined(cgroup, &error))
        }
        _ => Ok(()),
    }
}

fn directly(cgroup: &Path) -> Result<(), ErrorBody> {
    use std::io::Write as _;
    let own = std::process::id().to_string();
    let file = std::fs::File::options().write(true).open(cgroup.join("cgroup.procs"));
    let joined = file.and_then(|mut file| file.write_all(own.as_bytes()));
    joined.map_err(|error| not_joined(cgroup, &error))
}

fn not_joined(cgroup: &Path, error: &io::Error) -> ErrorBody {
    ErrorBody {
        error: format!("cannot join cgroup {}: {error}", cgroup.display()),
        help: "start guardd: it makes the bulkhead's cgroup again".into(),
        exit_code: GUARD_FAILED,
    }
}

fn join(socket: &Path, ExecArgs { bulkhead, sub, .. }: &ExecArgs) -> Result<(), ErrorBody> {
    let target = format!("/v1/bulkheads/{}/join", percent_encode(bulkhead));
    let client = Client::new(socket);
    let order = JoinRequest { sub: sub.clone(), ..JoinRequest::default() };
    let request = async { client.post::<Joined>(&target, &order).await };
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

fn become_command(arguments: &ExecArgs, identity: Option<&Identity>) -> ErrorBody {
    let Some((program, rest)) = arguments.command.split_first() else {
        return ErrorBody {
            error: "no command".into(),
            help: "guardctl exec BULKHEAD -- CMD".into(),
            exit_code: GUARD_FAILED,
        };
    };
    let mut command = Command::new(program);
    if let Some(identity) = identity {
        if let Err(error) = identity.become_it() {
            return ErrorBody { error, help: String::new(), exit_code: GUARD_FAILED };
        }
        command.envs(identity.environment());
    }
    let error = command.args(rest).exec();
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
