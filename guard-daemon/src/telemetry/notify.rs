//! Notes to the service manager (systemd's `sd_notify`). Without `NOTIFY_SOCKET` each is a
//! no-op; one that cannot be delivered is logged once and never stops guardd.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// A note could not be delivered and that was logged.
static COMPLAINED: AtomicBool = AtomicBool::new(false);

/// guardd guards: programs are attached and the control socket answers.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// A reload has begun. When it is over, [`ready`] says so, also when the old configuration was
/// kept: systemd waits for it.
pub fn reloading() {
    // systemd 253 and newer want the time too, to tell this reload from an earlier one.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => complain(&error),
    }
}

/// guardd stops.
pub fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    send(&[NotifyState::Status(&one_line(text))]);
}

/// A sign of life. Send it only while every loop of guardd makes progress.
pub fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

/// How often [`watchdog`] should be called: half of what the service manager allows. `None` =
/// it does not watch this process.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()).map(|limit| limit / 2)
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        complain(&error);
    }
}

fn complain(error: &std::io::Error) {
    if !COMPLAINED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            %error,
            socket = ?std::env::var_os("NOTIFY_SOCKET"),
            "the service manager cannot be told about guardd's state; systemd may take the start \
             as failed: see NotifyAccess= in guardd.service; this is said once"
        );
    }
}

/// A newline would end the field and start another one.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::{Command, Output};

    use super::*;

    /// Tells the test below that it is the child.
    const CHILD: &str = "GUARD_NOTIFY_TEST_CHILD";

    #[test]
    fn child() {
        let Ok(part) = std::env::var(CHILD) else { return };
        if part == "broken" {
            let _guard = tracing::subscriber::set_default(
                tracing_subscriber::fmt().with_writer(std::io::stderr).finish(),
            );
            status("one");
            status("two");
            return;
        }
        ready("2 bulkheads");
        reloading();
        ready("3 bulkheads\nREADY=0");
        watchdog();
        stopping("bye");
        eprintln!("interval {:?}", watchdog_interval());
    }

    /// Runs [`child`] in a process of its own, since the environment belongs to all threads.
    fn run(part: &str, socket: Option<&std::path::Path>, watchdog: Option<&str>) -> Output {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "telemetry::notify::tests::child", "--nocapture"]);
        command.env(CHILD, part).env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_PID");
        command.env_remove("WATCHDOG_USEC");
        command.envs(socket.map(|path| ("NOTIFY_SOCKET", path)));
        command.envs(watchdog.map(|usec| ("WATCHDOG_USEC", usec)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    }

    fn said(output: &Output) -> String {
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    #[test]
    fn notes_arrive_at_a_real_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let before = NotifyState::monotonic_usec_now().unwrap().to_string();
        let output = run("all", Some(&path), Some("20000000"));
        let mut notes = Vec::new();
        let mut buffer = [0; 512];
        for _ in 0..5 {
            let length = socket.recv(&mut buffer).unwrap();
            notes.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        assert_eq!(notes[0], "READY=1\nSTATUS=2 bulkheads\n");
        let (reloading, usec) = notes[1].trim_end().split_once('\n').unwrap();
        assert_eq!(reloading, "RELOADING=1");
        let number = |line: &str| {
            line.strip_prefix("MONOTONIC_USEC=").unwrap().trim_end().parse::<u64>().unwrap()
        };
        assert!(number(usec) >= number(&before), "{usec} {before}");
        assert_eq!(notes[2], "READY=1\nSTATUS=3 bulkheads READY=0\n");
        assert_eq!(notes[3], "WATCHDOG=1\n");
        assert_eq!(notes[4], "STOPPING=1\nSTATUS=bye\n");
        assert!(said(&output).contains("interval Some(10s)"), "{}", said(&output));
    }

    #[test]
    fn without_a_socket_nothing_happens() {
        let output = run("all", None, None);
        assert!(said(&output).contains("interval None"));
        assert!(!said(&output).contains("WARN"));
    }

    #[test]
    fn a_dead_socket_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let output = run("broken", Some(&dir.path().join("nobody")), None);
        assert_eq!(said(&output).matches("cannot be told").count(), 1, "{}", said(&output));
    }
}
