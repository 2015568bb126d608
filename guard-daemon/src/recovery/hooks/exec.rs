//! Runs a command: no shell, an environment that describes the incident and nothing else of guardd's,
//! the incident as JSON on its standard input, in a process group of its own, and an end
//! after its time. What it leaves behind in its process group is ended with it; what is in its
//! cgroup, by whoever has made that.

use std::io::{self, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::HookOptions;
use super::output::Kept;
use crate::recovery::{ActionResult, Outcome, Situation};

/// Where programs that the hook calls are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LOOK: Duration = Duration::from_millis(10);
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(1);

/// Runs it and waits for its end, which comes at the latest a moment after `options.timeout`.
pub fn run_exec(argv: &[String], options: &HookOptions<'_>, situation: &Situation) -> Outcome {
    let begin = Instant::now();
    let (result, message) = match start(argv, options, situation) {
        Ok(mut child) => {
            feed(&mut child, situation);
            follow(child, begin + options.timeout, options.timeout)
        }
        Err(error) => {
            let program = argv.first().map_or("", String::as_str);
            (ActionResult::Failed, format!("cannot run {program}: {error}"))
        }
    };
    Outcome { result, message, took: begin.elapsed() }
}

fn start(argv: &[String], options: &HookOptions<'_>, situation: &Situation) -> io::Result<Child> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = match helper(options)? {
        // Between fork and exec only a process of its own can do more than std offers.
        Some(guardctl) => {
            let mut command = Command::new(guardctl);
            command.arg("hook");
            if let Some(cgroup) = options.cgroup {
                command.arg("--cgroup").arg(cgroup);
            }
            if let Some(user) = options.user {
                command.arg("--user").arg(user);
            }
            command.arg("--").arg(program);
            command
        }
        None => Command::new(program),
    };
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(situation.environment())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn()
}

/// `guardctl`, beside guardd, if this hook needs it.
fn helper(options: &HookOptions<'_>) -> io::Result<Option<PathBuf>> {
    if options.user.is_none() && options.cgroup.is_none() {
        return Ok(None);
    }
    let guardctl = std::env::current_exe()?.with_file_name("guardctl");
    if guardctl.is_file() {
        return Ok(Some(guardctl));
    }
    let path = guardctl.display();
    if let Some(user) = options.user {
        return Err(io::Error::other(format!(
            "{path} is needed to become {user}, and is not there"
        )));
    }
    tracing::warn!(%path, "not there: a hook runs without a cgroup of its own, and setsid escapes it");
    Ok(None)
}

fn follow(mut child: Child, until: Instant, timeout: Duration) -> (ActionResult, String) {
    let group = Pid::from_raw(child.id().cast_signed());
    let mut said = Kept::of(child.stdout.take());
    let mut complained = Kept::of(child.stderr.take());
    let mut read = || {
        let (one, other) = (said.read(), complained.read());
        one || other
    };
    let ended = wait(&mut child, until, &mut read);
    if ended.is_none() {
        end_group(group, Signal::SIGTERM);
        wait(&mut child, Instant::now() + GRACE, &mut read);
    }
    // Also what went on in its group after it had ended well.
    end_group(group, Signal::SIGKILL);
    if ended.is_none() {
        wait(&mut child, Instant::now() + GRACE, &mut read);
    }
    // What it said last, before it ended.
    read();
    let mut line = complained.first_line();
    if line.is_empty() {
        line = said.first_line();
    }
    let tail = if line.is_empty() { String::new() } else { format!(": {line}") };
    match ended {
        None => (ActionResult::TimedOut, format!("ended after {timeout:?}{tail}")),
        Some(status) if status.success() => (ActionResult::Done, format!("exit code 0{tail}")),
        Some(status) => (ActionResult::Failed, format!("{}{tail}", how(status))),
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => {
            Signal::try_from(signal).map_or(format!("signal {signal}"), |s| s.to_string())
        }
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// Waits for its end, and reads what it says meanwhile.
fn wait(child: &mut Child, until: Instant, read: &mut impl FnMut() -> bool) -> Option<ExitStatus> {
    loop {
        let busy = read();
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "cannot wait for a hook"),
        }
        if Instant::now() >= until {
            return None;
        }
        if !busy {
            thread::sleep(LOOK);
        }
    }
}

fn end_group(group: Pid, signal: Signal) {
    match killpg(group, signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => tracing::warn!(%error, %group, "a hook goes on"),
    }
}

/// What hooks read from their standard input is written by a thread: whoever does not read it must not
/// hold anybody up.
fn feed(child: &mut Child, situation: &Situation) {
    let (Some(mut stdin), Ok(text)) = (child.stdin.take(), serde_json::to_vec(situation)) else {
        return;
    };
    thread::spawn(move || {
        // A hook need not read it.
        drop(stdin.write_all(&text));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, timeout: Duration) -> Outcome {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        let situation = Situation {
            incident: 7,
            rule: "r".into(),
            bulkhead: Some("research".into()),
            reason: "sick".into(),
            ..Situation::default()
        };
        run_exec(&argv, &HookOptions { timeout, ..HookOptions::default() }, &situation)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_hook_is_told_of_the_incident() {
        let done = run("read json; echo $GUARD_INCIDENT $GUARD_BULKHEAD $HOME $json", LONG);
        assert_eq!(done.result, ActionResult::Done, "{}", done.message);
        assert!(done.message.starts_with("exit code 0: 7 research {"), "{}", done.message);
        assert!(done.message.contains("\"rule\":\"r\""), "{}", done.message);
    }

    #[test]
    fn a_hook_that_fails_says_how() {
        let failed = run("echo no such cache >&2; exit 3", LONG);
        assert_eq!(failed.result, ActionResult::Failed);
        assert_eq!(failed.message, "exit code 3: no such cache");
        assert!(run("kill -9 $$", LONG).message.contains("SIGKILL"));
        let missing = run_exec(
            &["/not/there".into()],
            &HookOptions { timeout: LONG, ..HookOptions::default() },
            &Situation::default(),
        );
        assert_eq!(missing.result, ActionResult::Failed);
        assert!(missing.message.contains("/not/there"));
    }

    #[test]
    fn a_hook_that_hangs_is_ended_with_its_children() {
        let begin = Instant::now();
        let hung = run("trap '' TERM; sleep 600 & sleep 600", Duration::from_millis(300));
        assert_eq!(hung.result, ActionResult::TimedOut);
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn what_forks_away_ends_with_the_hook() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        let done = run(&format!("sleep 600 & echo $! > {path}"), LONG);
        assert_eq!(done.result, ActionResult::Done, "{}", done.message);
        let pid = std::fs::read_to_string(file.path()).unwrap();
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            stat.is_err() || stat.is_ok_and(|text| text.contains(") Z "))
        };
        let until = Instant::now() + Duration::from_secs(5);
        while !gone() {
            assert!(Instant::now() < until, "{pid} goes on");
            thread::sleep(LOOK);
        }
    }

    #[test]
    fn the_reason_of_a_hook_that_ends_at_once_is_never_missed() {
        for _ in 0..100 {
            assert_eq!(run("echo why >&2; exit 3", LONG).message, "exit code 3: why");
        }
    }

    #[test]
    fn a_hook_that_floods_for_ever_is_ended_at_its_time() {
        let flood = run("exec cat /dev/zero", Duration::from_millis(300));
        assert_eq!(flood.result, ActionResult::TimedOut, "{}", flood.message);
        assert!(flood.took < Duration::from_secs(5));
    }

    /// What leaves the hook's group is not ended; it must not cost guardd anything either.
    #[test]
    fn what_leaves_the_group_holds_no_descriptor_of_guardd() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        let script = format!(
            "setsid sh -c 'echo $$ > {path}; exec sleep 60' & while [ ! -s {path} ]; do :; done"
        );
        let done = run(&script, LONG);
        assert_eq!(done.result, ActionResult::Done, "{}", done.message);
        let text = std::fs::read_to_string(file.path()).unwrap();
        let left = Pid::from_raw(text.trim().parse().unwrap());
        let output = std::fs::read_link(format!("/proc/{left}/fd/1")).unwrap();
        let ours = || {
            let fds = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
            fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|to| to == output)
        };
        let held = ours();
        nix::sys::signal::kill(left, Signal::SIGKILL).unwrap();
        assert!(!held, "its output is still read");
    }

    #[test]
    fn a_flood_of_output_neither_blocks_nor_fills_memory() {
        let done = run("echo first; head -c 50000000 /dev/zero", LONG);
        assert_eq!(done.result, ActionResult::Done, "{}", done.message);
        assert_eq!(done.message, "exit code 0: first");
    }
}
