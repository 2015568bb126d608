//! `guardctl hook`: what guardd starts to run a hook. It goes into the cgroup of this run, becomes the
//! user, and then the command: same pid, output and environment. It needs no guardd.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::cli::HookArgs;
use super::user;
use crate::cgroup;
use crate::control::api::ErrorBody;

const GUARD_FAILED: u8 = 125;
const CANNOT_RUN: u8 = 126;

/// Comes back only with an error.
pub(super) fn run(arguments: &HookArgs) -> ErrorBody {
    let failed = |error: String| ErrorBody { error, help: String::new(), exit_code: GUARD_FAILED };
    let identity = match arguments.user.as_deref().map(user::find).transpose() {
        Ok(identity) => identity,
        Err(error) => return failed(error),
    };
    if let Some(path) = &arguments.cgroup
        && let Err(error) = cgroup::join(path)
    {
        if !path.exists() {
            return failed(format!("{} is gone: guardd stops", path.display()));
        }
        // Its process group is still ended.
        eprintln!("guardctl: not in a cgroup of its own: {}: {error}", path.display());
    }
    let Some((program, rest)) = arguments.command.split_first() else {
        return failed("no command".into());
    };
    let mut command = Command::new(program);
    if let Some(identity) = identity {
        // Nothing of the command has run before.
        if let Err(error) = identity.check().and_then(|()| identity.become_it()) {
            return failed(error);
        }
        command.envs(identity.environment());
    }
    let error = command.args(rest).exec();
    let error = format!("cannot run {}: {error}", program.display());
    ErrorBody { error, help: String::new(), exit_code: CANNOT_RUN }
}
