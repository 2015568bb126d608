//! The commands that systemd is asked with, and how they are run.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::error::{CgroupError, Result};
use super::state::PROPERTIES;

/// The unit that bulkheads live below. A service, since slices cannot be delegated.
pub const UNIT: &str = "guard-agents.service";
/// Its slice, `guard.slice/guard-agents.slice` in the tree: where an operator puts limits for
/// all agents together.
pub const SLICE: &str = "guard-agents.slice";

/// Longer than systemd's own 25 s for an answer over its bus.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts the unit, word by word.
pub fn start_command() -> Vec<String> {
    let options: [&str; 4] = ["--quiet", "--no-ask-password", "--collect", "--service-type=exec"];
    let properties: [&str; 7] = [
        // The subtree is guard's: systemd neither changes nor removes what is below.
        "Delegate=yes",
        // A stop, or the keeper's death, ends the keeper alone, never an agent.
        "KillMode=process",
        // An agent that is killed for want of memory must not take the others with it …
        "OOMPolicy=continue",
        // … and the keeper, which needs none, must not be the one chosen.
        "OOMScoreAdjust=-1000",
        // The default would limit all agents together to 15 % of the host's processes.
        "TasksMax=infinity",
        // It is a sleeper and no more.
        "NoNewPrivileges=yes",
        "SendSIGHUP=no",
    ];
    let mut words: Vec<String> = vec!["systemd-run".into()];
    words.extend(options.map(String::from));
    words.push(format!("--unit={UNIT}"));
    words.push(format!("--slice={SLICE}"));
    words.push("--description=keeper of the cgroups of agents guarded by guard".into());
    words.extend(properties.map(|property| format!("--property={property}")));
    words.extend(["--", "sleep", "infinity"].map(String::from));
    words
}

/// Asks for the unit's state.
pub(super) fn show_command() -> Vec<String> {
    let mut words: Vec<String> = ["systemctl", "show", "--no-pager"].map(String::from).into();
    words.extend(PROPERTIES.map(|property| format!("--property={property}")));
    words.extend(["--", UNIT].map(String::from));
    words
}

/// Starts the unit once more, where systemd still knows it.
pub(super) fn restart_command() -> Vec<String> {
    ["systemctl", "start", "--no-ask-password", "--", UNIT].map(String::from).into()
}

/// Stops the unit.
pub(super) fn stop_command() -> Vec<String> {
    ["systemctl", "stop", "--no-ask-password", "--", UNIT].map(String::from).into()
}

/// Restarts a unit of the host's, in this time.
///
/// # Errors
/// [`CgroupError::Systemd`] if it cannot be asked, says no, or takes longer.
pub fn restart_unit(unit: &str, patience: Duration) -> Result<()> {
    let words = ["systemctl", "restart", "--no-ask-password", "--", unit].map(String::from);
    run_within(&words, patience).map(drop)
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// [`CgroupError::Systemd`] if it cannot be started, fails (with what it said), or hangs.
pub(super) fn run(words: &[String]) -> Result<String> {
    run_within(words, PATIENCE)
}

fn run_within(words: &[String], patience: Duration) -> Result<String> {
    let line = words.join(" ");
    let fail = |reason: String| CgroupError::Systemd {
        reason: format!("`{line}` {reason}"),
        cure: format!(
            "run it by hand and see journalctl -u {UNIT}, or set daemon.cgroup_root to a \
             directory that is delegated to guard"
        ),
    };
    let Some((program, arguments)) = words.split_first() else {
        return Err(fail("names no program".into()));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| fail(format!("cannot be started: {e}")))?;
    let deadline = Instant::now() + patience;
    // What these commands print is far below what a pipe holds, so they never wait for a reader.
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                let killed = child.kill().and_then(|()| child.wait());
                let how =
                    killed.map_or_else(|e| format!(" (and killing it: {e})"), |_| String::new());
                return Err(fail(format!("did not end within {} s{how}", patience.as_secs_f64())));
            }
            Err(e) => return Err(fail(format!("cannot be waited for: {e}"))),
        }
    };
    let mut out = String::new();
    let mut said = String::new();
    for result in [
        child.stdout.take().map(|mut pipe| pipe.read_to_string(&mut out)),
        child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut said)),
    ] {
        result.transpose().map_err(|e| fail(format!("said what cannot be read: {e}")))?;
    }
    if !status.success() {
        return Err(fail(format!("failed ({status}): {}", said.trim())));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[&str]) -> Vec<String> {
        line.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_start_command_keeps_agents_alive() {
        let line = start_command();
        assert_eq!(line[0], "systemd-run");
        for needed in [
            "--unit=guard-agents.service",
            "--slice=guard-agents.slice",
            "--collect",
            "--property=Delegate=yes",
            "--property=KillMode=process",
            "--property=OOMPolicy=continue",
            "--property=TasksMax=infinity",
        ] {
            assert!(line.iter().any(|word| word == needed), "{needed} is not in {line:?}");
        }
        assert_eq!(line[line.len() - 3..], ["--", "sleep", "infinity"]);
        // Nothing ties it to guardd's own unit.
        assert!(!line.iter().any(|word| word.contains("guardd")), "{line:?}");
    }

    #[test]
    fn show_asks_for_each_property_once() {
        let line = show_command();
        for property in PROPERTIES {
            let word = format!("--property={property}");
            assert_eq!(line.iter().filter(|w| **w == word).count(), 1);
        }
        assert_eq!(line.last().unwrap(), UNIT);
    }

    #[test]
    fn a_command_that_fails_hangs_or_is_absent_is_an_error() {
        assert_eq!(run(&words(&["echo", "ActiveState=active"])).unwrap(), "ActiveState=active\n");
        let error = run(&words(&["sh", "-c", "echo no bus >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no bus"), "{error}");
        let error = run(&words(&["guard-no-such-program"])).unwrap_err().to_string();
        assert!(error.contains("cannot be started"), "{error}");
        let before = Instant::now();
        let hang = run_within(&words(&["sleep", "60"]), Duration::from_millis(50));
        assert!(hang.unwrap_err().to_string().contains("did not end"));
        assert!(before.elapsed() < Duration::from_secs(10));
    }
}
