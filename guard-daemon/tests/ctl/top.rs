//! `guardctl top` in a real terminal: a pseudo-terminal of this test.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::Pid;

use crate::rig::Rig;

const LIMIT: Duration = Duration::from_secs(20);
const ENTER_SCREEN: &str = "\u{1b}[?1049h";
const LEAVE_SCREEN: &str = "\u{1b}[?1049l";

/// A program in a terminal of 80 columns and 24 lines.
struct Session {
    child: Child,
    keys: File,
    terminal: OwnedFd,
    before: Termios,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Session {
    fn start(mut command: Command) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&slave).unwrap();
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        let child = command
            .env("TERM", "xterm-256color")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        let mut screen = File::from(master.try_clone().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                shared.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { child, keys: File::from(master), terminal: slave, before, seen }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    fn wait_for(&self, what: &str) {
        let end = Instant::now() + LIMIT;
        while !self.text().contains(what) {
            assert!(Instant::now() < end, "{what:?} did not come: {:?}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it did not end: {:?}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The terminal is as it was: its modes, and the screen that was there.
    fn restored(&self) {
        self.wait_for(LEAVE_SCREEN);
        let after = tcgetattr(&self.terminal).unwrap();
        assert_eq!(after.local_flags, self.before.local_flags);
        assert_eq!(after.input_flags, self.before.input_flags);
        assert_eq!(after.output_flags, self.before.output_flags);
        assert!(after.local_flags.contains(LocalFlags::ECHO | LocalFlags::ICANON));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("a session does not end: {error}");
        }
    }
}

fn top(rig: &Rig) -> Session {
    let session = Session::start(rig.command(&["top", "--interval", "0.2"]));
    session.wait_for(ENTER_SCREEN);
    session.wait_for("research");
    session
}

#[test]
fn keys_work_and_q_restores_the_terminal() {
    let rig = Rig::start();
    let mut top = top(&rig);
    let raw = tcgetattr(&top.terminal).unwrap();
    assert!(!raw.local_flags.contains(LocalFlags::ICANON), "keys come one by one");
    top.press("\r");
    top.wait_for("SERVICE");
    top.press("\u{1b}");
    top.press("o");
    top.wait_for("by ok %");
    top.press("q");
    assert_eq!(top.ended().code(), Some(0));
    top.restored();
}

#[test]
fn control_c_and_signals_restore_the_terminal() {
    let rig = Rig::start();
    let mut session = top(&rig);
    session.press("\u{3}");
    assert_eq!(session.ended().code(), Some(0));
    session.restored();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut session = top(&rig);
        kill(Pid::from_raw(session.child.id() as i32), signal).unwrap();
        assert_eq!(session.ended().code(), Some(0), "{signal}");
        session.restored();
    }
}

/// The same code in the process of a unit test, which panics.
#[test]
fn the_terminal_is_restored_after_a_panic() {
    let Some(tests) = unit_tests() else {
        println!("SKIPPED the_terminal_is_restored_after_a_panic: no unit tests were built");
        return;
    };
    let mut command = Command::new(tests);
    command.args(["--exact", "--nocapture", "ctl::top::tests::panics_in_a_terminal"]);
    command.env("GUARD_TEST_TOP_PANICS", "1");
    let mut session = Session::start(command);
    session.wait_for("on purpose");
    assert_eq!(session.ended().code(), Some(101));
    session.wait_for(ENTER_SCREEN);
    session.restored();
    // The message comes after the screen is left, or nobody would see it.
    let text = session.text();
    assert!(text.find(LEAVE_SCREEN) < text.find("on purpose"), "{text:?}");
}

/// The newest executable with the unit tests of the library.
fn unit_tests() -> Option<std::path::PathBuf> {
    let own = std::env::current_exe().ok()?;
    let entries = std::fs::read_dir(own.parent()?).ok()?.flatten();
    let found = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("guard_daemon-") && !name.contains('.')
    });
    found.max_by_key(|path| path.metadata().and_then(|m| m.modified()).ok())
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let rig = Rig::start();
    for arguments in [&["top"][..], &["top", "--json"][..]] {
        let output = rig.command(arguments).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(
            text.contains("top needs a terminal") && text.contains("guardctl status"),
            "{text}"
        );
    }
}

#[test]
fn a_guardd_that_goes_is_said_and_the_screen_stays() {
    let rig = Rig::start();
    let mut session = top(&rig);
    drop(rig);
    session.wait_for("no daemon answers");
    session.press("q");
    assert_eq!(session.ended().code(), Some(0));
    session.restored();
}
