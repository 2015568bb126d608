//! `guardctl exec` and `move`: terminals, users, cgroups of runs, trees of processes.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use testbed::process::{Process, binary};
use testbed::server::Server;
use testbed::{requires, timing, wait};

use crate::rig::{LIMIT, pair, start};
use crate::{NOBODY, cgroup_of, ctl, open, run, runs};

/// A terminal with a command on it, in a session of its own.
struct Terminal {
    keys: File,
    shown: mpsc::Receiver<String>,
    screen: String,
}

impl Terminal {
    /// The command, and the terminal's device.
    fn new(command: &mut Command) -> (Self, std::process::Child, String) {
        let size = Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let device = nix::unistd::ttyname(&pty.slave).unwrap().display().to_string();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keys = File::from(pty.master);
        let mut screen = keys.try_clone().unwrap();
        let (sender, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        (Self { keys, shown, screen: String::new() }, child, device)
    }

    /// Whether this is there after a while.
    fn shows(&mut self, wanted: &str, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while !self.screen.contains(wanted) {
            match self.shown.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(text) => self.screen += &text,
                Err(_) => return false,
            }
        }
        true
    }

    fn until(&mut self, wanted: &str) {
        while !self.screen.contains(wanted) {
            let text = self.shown.recv_timeout(timing::at_most(LIMIT));
            self.screen += &text.unwrap_or_else(|e| panic!("no {wanted} ({e}): {}", self.screen));
        }
    }
}

#[test]
fn a_terminal_is_the_commands_with_its_keys_and_its_size() {
    const TEST: &str = "a_terminal_is_the_commands_with_its_keys_and_its_size";
    if !requires::cgroups(TEST)
        || !requires::program(TEST, "setsid")
        || !requires::program(TEST, "stty")
    {
        return;
    }
    let guardd = start(&[]);
    let script = "trap 'echo interrupted; exit 9' INT; trap 'stty size' WINCH; \
                  test -t 0 && test -t 1 && test -t 2 && echo terminal; stty size; \
                  cat /proc/self/cgroup; while :; do sleep 0.1; done";
    let exec = ctl(&guardd, &["exec", "research", "--", "sh", "-c", script]);
    let mut session = Command::new("setsid");
    session.arg("-c").arg(exec.get_program()).args(exec.get_args());
    let (mut terminal, mut child, device) = Terminal::new(&mut session);
    terminal.until("terminal");
    terminal.until("33 101");
    terminal.until("/research");
    // Its window changes, and Ctrl-C is a signal to it.
    let resized = Command::new("stty").args(["-F", &device, "rows", "40", "cols", "90"]).status();
    assert!(resized.unwrap().success());
    terminal.until("40 90");
    // As a person would: the shell may be in the middle of its other trap.
    wait::until("the interruption", LIMIT, || {
        terminal.keys.write_all(b"\x03").unwrap();
        terminal.shows("interrupted", Duration::from_secs(1))
    })
    .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9), "{}", terminal.screen);
    guardd.finish().unwrap();
}

#[test]
fn another_user_has_no_right_of_roots_left() {
    if !requires::cgroups("another_user_has_no_right_of_roots_left") {
        return;
    }
    let guardd = start(&[]);
    let script = "grep -E '^(Uid|Gid|Groups|CapPrm|CapEff|CapAmb)' /proc/self/status; \
                  echo \"$HOME $USER $LOGNAME $WORD $PWD\"; cat /proc/self/cgroup";
    let user = format!("{NOBODY}:{NOBODY}");
    let mut command =
        ctl(&guardd, &["exec", "--user", &user, "research", "--", "/bin/sh", "-c", script]);
    command.env("WORD", "there").current_dir("/proc");
    let (code, out, said) = run(&mut command);
    assert_eq!((code, said.as_str()), (0, ""), "{out}");
    let out = out.replace('\t', " ");
    let all = format!("{NOBODY} {NOBODY} {NOBODY} {NOBODY}");
    for line in [format!("Uid: {all}"), format!("Gid: {all}")] {
        assert!(out.contains(&line), "{out}");
    }
    for right in ["CapPrm", "CapEff", "CapAmb"] {
        assert!(out.contains(&format!("{right}: 0000000000000000")), "{out}");
    }
    let groups = out.lines().find_map(|l| l.strip_prefix("Groups:")).unwrap();
    assert_eq!(groups.trim(), NOBODY.to_string(), "root's groups are gone");
    assert!(out.contains("there /proc") && out.contains("/research"), "{out}");
    assert!(!out.contains("/root"), "{out}");

    // What is wrong is wrong before anything is moved, and only root names others.
    for (user, why) in [("no-such-user", "no user"), ("4000000", "GROUP"), ("root:nix-da", "group")]
    {
        let (code, out, said) =
            run(&mut ctl(&guardd, &["exec", "--user", user, "research", "--", "echo", "ran"]));
        assert!(code == 125 && out.is_empty() && said.contains(why), "{user}: {code} {said}");
    }
    let copy = guardd.directory().join("guardctl");
    fs::copy(binary("guardctl").unwrap(), &copy).unwrap();
    open(guardd.directory());
    let mut others = Command::new(&copy);
    others.uid(NOBODY).gid(NOBODY).arg("--socket").arg(guardd.socket());
    others.args(["exec", "--user", "root", "research", "--", "id"]).current_dir("/");
    let (code, out, said) = run(&mut others);
    assert!(code == 125 && out.is_empty() && said.contains("only root"), "{code} {said}");
    guardd.finish().unwrap();
}

#[test]
fn a_run_has_a_cgroup_of_its_own_that_goes_with_it() {
    if !requires::cgroups("a_run_has_a_cgroup_of_its_own_that_goes_with_it") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let mut guardd = start(&[("api", &[address])]);
    let sub = guardd.bulkhead("research/tests");
    let sleep = |guardd: &testbed::guardd::Guardd, option: &str| {
        let mut process = Process::spawn(&mut ctl(
            guardd,
            &[
                "exec",
                option,
                "research",
                "--",
                "sh",
                "-c",
                "cat /proc/self/cgroup; exec sleep 600",
            ],
        ))
        .unwrap();
        process.wait_for_line(LIMIT, |line| line.contains("/research/")).unwrap();
        process
    };
    let mut first = sleep(&guardd, "--sub=tests");
    let mut second = sleep(&guardd, "--sub=tests");
    assert!(cgroup_of(first.pid()).ends_with("/research/tests"));
    // The bulkhead's rules hold in there: its calls are the bulkhead's.
    let agent = binary("testbed-agent").unwrap().display().to_string();
    let target = crate::rig::url(address);
    let once =
        ["exec", "--sub=tests", "research", "--", &agent, "--target", &target, "--count", "1"];
    let (code, out, said) = run(&mut ctl(&guardd, &once));
    assert!(code == 0 && out.contains("\"outcome\":\"ok\""), "{code} {out} {said}");
    assert_eq!(pair(&guardd, "research", "api").connects, 1);

    let mut chosen = sleep(&guardd, "--sub");
    let own = format!("/research/run-{}", chosen.pid());
    assert!(cgroup_of(chosen.pid()).ends_with(&own), "{}", cgroup_of(chosen.pid()));
    chosen.stop(LIMIT).unwrap_or_else(|e| panic!("{e:#}"));
    let gone = |path: std::path::PathBuf| {
        wait::until("the run's cgroup to go", LIMIT, || !path.exists()).unwrap();
    };
    gone(guardd.bulkhead(&own[1..]));
    first.stop(LIMIT).unwrap();
    std::thread::sleep(timing::at_most(Duration::from_millis(1200)));
    assert!(sub.exists(), "the second run is in it");
    // A guardd that was killed finds it again.
    guardd.sigkill().unwrap();
    guardd.restart().unwrap();
    assert!(sub.exists() && runs(second.pid()));
    second.stop(LIMIT).unwrap();
    gone(sub);
    for name in ["--sub=a/b", "--sub=..", "--sub=memory.max", "--sub=a b"] {
        let (code, _, said) = run(&mut ctl(&guardd, &["exec", name, "research", "--", "true"]));
        assert!(code == 125 && said.contains("cannot be the name"), "{name}: {code} {said}");
    }
    // A command that cannot be run leaves nothing either.
    let (code, ..) = run(&mut ctl(&guardd, &["exec", "--sub=x", "research", "--", "/no/such"]));
    assert_eq!(code, 127);
    gone(guardd.bulkhead("research/x"));
    guardd.finish().unwrap();
}

#[test]
fn a_tree_moves_with_its_root() {
    if !requires::cgroups("a_tree_moves_with_its_root") {
        return;
    }
    let guardd = start(&[]);
    let script = "sh -c 'sleep 600 & echo $!; wait' & echo $!; wait";
    let mut root = Process::run("sh", &["-c", script]).unwrap();
    let mut pids = vec![root.pid()];
    for _ in 0..2 {
        pids.push(root.next_line(LIMIT).unwrap().parse().unwrap());
    }
    let inside = |bulkhead: &str| {
        pids.iter().filter(|pid| cgroup_of(**pid).ends_with(&format!("/{bulkhead}"))).count()
    };
    let pid = root.pid().to_string();
    assert_eq!(guardd.ctl(&["move", "writing", &pid]).unwrap().code, 0);
    assert_eq!(inside("writing"), 1, "children that run already stay");
    let moved = guardd.ctl(&["move", "--tree", "research", &pid]).unwrap();
    assert!(moved.code == 0 && moved.stdout.starts_with("moved 3 processes"), "{moved:?}");
    assert_eq!((inside("research"), inside("writing")), (3, 0));
    for pid in pids.iter().rev() {
        // A shell ends by itself when what it waits for has.
        let ended =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid as i32), Signal::SIGKILL);
        assert!(matches!(ended, Ok(()) | Err(Errno::ESRCH)), "{ended:?}");
    }
    root.wait(LIMIT).unwrap();
    let empty = || guardd.cgroup().processes().is_empty();
    wait::until("the bulkheads to be empty", LIMIT, empty).unwrap();
    guardd.finish().unwrap();
}
