//! `drill run --detach`: the drill goes on in a guardctl of its own, in a session of its own, which no
//! terminal's end reaches. It says that a drill runs only when guardd has said so.
//!
//! The first process starts the second and reads what that says about its start: an error, or that it
//! was accepted. Then the second lets go of the pipe, and the first ends.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::super::cli::{DEFAULT_SOCKET, DrillRunArgs};
use super::super::client::Client;
use super::super::output::Output;
use super::super::view;
use crate::control::api::ErrorBody;

/// What the second process may say about its start.
const MOST_BYTES: u64 = 1 << 20;

/// A drill that runs on its own. `"schema": "guard.drill_detached/1"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::ctl) struct Detached {
    /// `guard.drill_detached/1`.
    schema: String,
    /// Id of the run.
    pub(in crate::ctl) run_id: String,
    /// Name of the drill.
    pub(in crate::ctl) name: String,
    /// Process id of its guardctl.
    pub(in crate::ctl) pid: u32,
    /// Directory of its results, once it has ended.
    pub(in crate::ctl) results: String,
    /// The command that ends it.
    pub(in crate::ctl) stop: String,
}

fn failed(error: String, help: &str) -> ErrorBody {
    ErrorBody { error, help: help.to_owned(), exit_code: 1 }
}

/// Starts the second process, and waits until guardd has accepted its drill.
pub(super) fn start(
    client: &Client,
    arguments: &DrillRunArgs,
    output: &Output,
) -> Result<u8, ErrorBody> {
    let cannot = |what: &str| failed(format!("guardctl cannot start itself: {what}"), "");
    let guardctl = std::env::current_exe().map_err(|error| cannot(&error.to_string()))?;
    let mut command = Command::new(guardctl);
    command.arg("--json").arg("--socket").arg(client.path()).args(["drill", "run"]);
    command.arg("--own-session");
    if let Some(out) = &arguments.out {
        command.arg("--out").arg(out);
    }
    if let Some(seed) = arguments.seed {
        command.arg("--seed").arg(seed.to_string());
    }
    // Behind `--`, a file's name may begin with a dash.
    command.arg("--").arg(&arguments.file);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| cannot(&error.to_string()))?;
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout
            .take(MOST_BYTES)
            .read_to_end(&mut said)
            .map_err(|error| cannot(&format!("its answer cannot be read: {error}")))?;
    }
    if let Ok(detached) = serde_json::from_slice::<Detached>(&said) {
        output.answer(&detached, |look| view::drill_detached(&detached, look))?;
        return Ok(0);
    }
    if let Ok(body) = serde_json::from_slice::<ErrorBody>(&said) {
        return Err(body);
    }
    let how = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    Err(failed(
        format!("the drill's guardctl ended before guardd had accepted the drill ({how})"),
        "run it without --detach to see why",
    ))
}

/// The second process leaves the terminal.
pub(super) fn leave_session() -> Result<(), ErrorBody> {
    nix::unistd::setsid().map(drop).map_err(|error| {
        failed(format!("guardctl cannot have a session of its own: {error}"), "use --detach")
    })
}

/// The second process says that guardd has accepted its drill, and lets go of whoever started it. An
/// error means that nobody hears it any more: then the drill shall not be, either.
pub(super) fn accepted(
    client: &Client,
    name: &str,
    run_id: &str,
    out: Option<&Path>,
) -> Result<(), ErrorBody> {
    let results = out.map(|out| {
        let out = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
        out.join(run_id).display().to_string()
    });
    let stop = if client.path() == Path::new(DEFAULT_SOCKET) {
        "guardctl drill abort".to_owned()
    } else {
        format!("guardctl --socket {} drill abort", client.path().display())
    };
    let detached = Detached {
        schema: "guard.drill_detached/1".to_owned(),
        run_id: run_id.to_owned(),
        name: name.to_owned(),
        pid: std::process::id(),
        results: results.unwrap_or_default(),
        stop,
    };
    let told = serde_json::to_vec(&detached).map_err(std::io::Error::from).and_then(|bytes| {
        let mut stdout = std::io::stdout();
        stdout.write_all(&bytes)?;
        stdout.flush()?;
        let null = OpenOptions::new().write(true).open("/dev/null")?;
        nix::unistd::dup2_stdout(null).map_err(std::io::Error::from)
    });
    told.map_err(|error| {
        failed(format!("whoever started this guardctl cannot be told of its drill: {error}"), "")
    })
}
