//! Against the real commands and kernel, in a network namespace of each test's own.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::command::words;
use super::*;
use crate::net::delay::{DelayProfile, DelayQueue, Distribution};
use crate::net::testing::{in_own_netns, is_root, run};

fn profile(delay: Duration) -> DelayProfile {
    DelayProfile {
        delay,
        jitter: Duration::ZERO,
        distribution: Distribution::Uniform,
        seed: 0,
        bytes_per_second: None,
    }
}

/// A cgroup below the cgroup2 mount, removed at the end.
struct Cgroup {
    name: String,
    path: PathBuf,
}

impl Cgroup {
    fn new(name: &str) -> Self {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        let mount = mounts
            .lines()
            .find_map(|l| l.contains(" cgroup2 ").then(|| l.split(' ').nth(1).unwrap()))
            .expect("cgroup2 is mounted");
        let name = format!("guard-test {name} {}", std::process::id());
        let path = Path::new(mount).join(&name);
        std::fs::create_dir(&path).unwrap();
        Self { name, path }
    }

    fn rule(&self, queue: u16) -> DelayRule {
        DelayRule {
            queue,
            cgroup_paths: vec![format!("/{}", self.name)],
            except: Vec::new(),
            gate: None,
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Processes that have just ended may keep it busy for a moment.
        for _ in 0..50 {
            if std::fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("left over: {}", self.path.display());
    }
}

fn log() -> (tempfile::TempDir, UndoLog) {
    let dir = tempfile::tempdir().unwrap();
    let (log, open) = UndoLog::open(dir.path()).unwrap();
    assert!(open.is_empty());
    (dir, log)
}

fn open_entries(dir: &tempfile::TempDir) -> usize {
    UndoLog::open(dir.path()).unwrap().1.len()
}

/// A shell that joins the cgroup and then sends one datagram per line of its standard input.
fn sender(cgroup: Option<&Cgroup>, port: u16) -> Child {
    let join = cgroup.map_or(String::new(), |c| {
        format!("echo $$ > '{}/cgroup.procs' || exit 1;", c.path.display())
    });
    let script = format!(
        "{join} exec 3<>/dev/udp/127.0.0.1/{port}; while read -r line; do printf %s \"$line\" >&3; done"
    );
    Command::new("bash").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap()
}

/// Time from telling the sender to send until the datagram is here.
fn transit(sender: &mut Child, server: &UdpSocket) -> Duration {
    use std::io::Write as _;
    let start = Instant::now();
    sender.stdin.as_mut().unwrap().write_all(b"x\n").unwrap();
    server.recv(&mut [0; 8]).expect("a datagram");
    start.elapsed()
}

#[test]
fn root_only_the_cgroup_is_delayed_and_nothing_stays() {
    if !is_root("root_only_the_cgroup_is_delayed_and_nothing_stays") {
        return;
    }
    in_own_netns(|| {
        let cgroup = Cgroup::new("delayed");
        let (dir, mut log) = log();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let port = server.local_addr().unwrap().port();
        let mut inside = sender(Some(&cgroup), port);
        let mut outside = sender(None, port);
        transit(&mut inside, &server);
        transit(&mut outside, &server);

        let delay = Duration::from_millis(150);
        let profile = profile(delay);
        let queue = DelayQueue::start(3, profile).unwrap();
        let installed = install(&cgroup.rule(3), &mut log).unwrap();
        assert_eq!(installed.warning, None);
        let chain = format!("GUARD-D3P{}", std::process::id());
        assert_eq!(list_leftovers(), [format!("iptables: {chain}"), format!("ip6tables: {chain}")]);
        assert!(transit(&mut inside, &server) >= delay);
        assert!(transit(&mut outside, &server) < delay);
        assert_eq!(queue.stats().released, 1);

        remove(installed, &mut log).unwrap();
        assert!(transit(&mut inside, &server) < delay);
        queue.stop().unwrap();
        assert_eq!(list_leftovers(), [""; 0]);
        assert!(!run("iptables", &["-w", "5", "-t", "mangle", "-S"]).contains("GUARD"));
        drop(log);
        assert_eq!(open_entries(&dir), 0);
        for mut child in [inside, outside] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    });
}

#[test]
fn root_failed_install_leaves_nothing_and_says_why() {
    if !is_root("root_failed_install_leaves_nothing_and_says_why") {
        return;
    }
    in_own_netns(|| {
        let (dir, mut log) = log();
        let rule = DelayRule {
            queue: 1,
            cgroup_paths: vec!["/guard-test/is/not/there".to_owned()],
            except: Vec::new(),
            gate: None,
        };
        let error = install(&rule, &mut log).unwrap_err().to_string();
        assert!(error.contains("/guard-test/is/not/there"), "{error}");
        assert!(error.contains("must exist"), "{error}");
        assert_eq!(list_leftovers(), [""; 0]);

        let gate = Some(PathBuf::from("/sys/fs/bpf/guard-test/no-gate"));
        let rule = DelayRule { cgroup_paths: vec!["/".to_owned()], gate, ..rule };
        let error = install(&rule, &mut log).unwrap_err().to_string();
        assert!(error.contains("/sys/fs/bpf/guard-test/no-gate"), "{error}");

        // A file that is there but no program: the real `--object-pinned` gets to refuse it.
        let gate = dir.path().join("not-a-program");
        std::fs::write(&gate, "").unwrap();
        let rule = DelayRule { gate: Some(gate), ..rule };
        let error = install(&rule, &mut log).unwrap_err().to_string();
        assert!(error.contains("--object-pinned") && error.contains("bpffs"), "{error}");
        assert_eq!(list_leftovers(), [""; 0]);
        drop(log);
        assert_eq!(open_entries(&dir), 0);
    });
}

#[test]
fn root_leftovers_of_a_dead_daemon_go_and_nothing_else() {
    if !is_root("root_leftovers_of_a_dead_daemon_go_and_nothing_else") {
        return;
    }
    in_own_netns(|| {
        let (_dir, mut log) = log();
        let cgroup = Cgroup::new("dead");
        for (command, chain) in [("iptables", "GUARD-DMZ"), ("ip6tables", "X-GUARD-D1")] {
            let change =
                |arguments: &[&str]| run(command, &[&["-t", "mangle"], arguments].concat());
            change(&["-N", chain]);
            change(&["-A", chain, "-j", "RETURN"]);
            change(&["-A", "OUTPUT", "-m", "comment", "--comment", "-j GUARD-D1", "-j", chain]);
        }
        let rules = || {
            ["iptables", "ip6tables"].map(|c| run(c, &["-w", "5", "-t", "mangle", "-S"])).concat()
        };
        let before = rules();
        // What a SIGKILL leaves: rules without their owner, here even without their cgroup.
        std::mem::forget(install(&cgroup.rule(1), &mut log).unwrap());
        std::mem::forget(install(&cgroup.rule(12), &mut log).unwrap());
        drop(cgroup);
        assert_eq!(list_leftovers().len(), 4);
        assert_eq!(remove_leftovers().unwrap().len(), 4);
        assert_eq!(rules(), before, "others' rules are untouched");
        assert_eq!(remove_leftovers().unwrap(), [""; 0]);
        assert!(!remove_chain(Family::V4, TABLE, HOOK, "GUARD-DMZ").unwrap(), "not ours");
        assert_eq!(rules(), before);
    });
}

#[test]
fn root_what_a_running_guardd_made_is_left_and_what_a_dead_one_left_is_taken_over() {
    if !is_root("root_what_a_running_guardd_made_is_left_and_what_a_dead_one_left_is_taken_over") {
        return;
    }
    in_own_netns(|| {
        let (_dir, mut log) = log();
        let cgroup = Cgroup::new("alive");
        std::mem::forget(install(&cgroup.rule(7), &mut log).unwrap());
        let profile = profile(Duration::from_millis(1));
        let queue = DelayQueue::start(7, profile).unwrap();
        let own = cgroup.rule(7).chain();
        assert_eq!(remove_leftovers().unwrap(), [""; 0], "its queue has a listener");
        let removed = |chain: &str| remove_dead_chain(Family::V4, TABLE, HOOK, chain).unwrap();
        assert!(!removed(&own), "its process lives too");
        assert_eq!(list_leftovers().len(), 2);
        // A dead guardd's, though somebody else listens on that queue number now.
        run("iptables", &["-t", "mangle", "-N", "GUARD-D7P4294967295"]);
        assert_eq!(remove_leftovers().unwrap(), [""; 0], "no log names it, so it may be alive");
        assert!(removed("GUARD-D7P4294967295"), "its own log knows better");
        // Whoever has the queue owns the name: the old chain does not stop a new one.
        let installed = install(&cgroup.rule(7), &mut log).unwrap();
        assert_eq!(list_leftovers().len(), 2);
        let rules = run("iptables", &["-t", "mangle", "-S"]);
        assert_eq!(rules.matches(&format!("-j {own}")).count(), 1, "{rules}");
        remove(installed, &mut log).unwrap();
        queue.stop().unwrap();
        assert_eq!(list_leftovers(), [""; 0]);
    });
}

#[test]
fn root_two_that_remove_the_same_chain_do_not_disturb_each_other() {
    if !is_root("root_two_that_remove_the_same_chain_do_not_disturb_each_other") {
        return;
    }
    in_own_netns(|| {
        let cgroup = Cgroup::new("race");
        let rule = cgroup.rule(26_490);
        let (dir, mut log) = log();
        for _ in 0..10 {
            let installed = install(&rule, &mut log).unwrap();
            std::thread::scope(|scope| {
                let other = scope.spawn(remove_leftovers);
                remove(installed, &mut log).unwrap();
                other.join().unwrap().unwrap();
            });
        }
        assert!(list_leftovers().is_empty());
        drop(log);
        assert_eq!(open_entries(&dir), 0);
    });
}

#[test]
fn root_probe_passes_here_and_leaves_nothing() {
    if !is_root("root_probe_passes_here_and_leaves_nothing") {
        return;
    }
    in_own_netns(|| {
        assert_eq!(probe(), Ok(()));
        assert_eq!(list_leftovers(), [""; 0]);
    });
}

#[test]
fn lines_of_iptables_are_split_as_they_are_quoted() {
    assert_eq!(
        words(r#"-A OUTPUT -m cgroup --path "/a b\"c\\d" -j GUARD-D0"#),
        ["-A", "OUTPUT", "-m", "cgroup", "--path", r#"/a b"c\d"#, "-j", "GUARD-D0"]
    );
    assert_eq!(words("-A X --comment \"\""), ["-A", "X", "--comment", ""]);
}
