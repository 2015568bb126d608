//! A host that says no: what is taken already, what is full, what guardd may not do. Each time a
//! clear message, the exit code of the contract, and nothing left.
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

mod safety_support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use safety_support::{LIMIT, PublicBinary, agent, config, ends, inject, spawn, url};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::server::Server;
use testbed::{requires, wait};

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// A guardd with this configuration must not start; what it said. Nothing may be left.
fn refused(config: GuarddConfig, code: i32) -> String {
    let guardd = Guardd::prepare(config).unwrap();
    let (ended, said) = ends(spawn(&guardd.config_path(), |command| command));
    assert_eq!(ended, code, "{said}");
    assert_eq!(guardd.leftovers(), [""; 0], "{said}");
    assert!(said.lines().any(|line| line.starts_with("error: ")), "{said}");
    said
}

#[test]
fn two_guardds_do_not_share_a_state_directory() {
    if !requires::cgroups("two_guardds_do_not_share_a_state_directory") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let first = Guardd::start(config(&[address], &["a"])).unwrap();
    let mut caller = agent(&first, "a", &url(address), &[]);
    inject(&first, &["--latency", "300ms"]);
    let state = quoted(&first.state_dir());
    let said = refused(config(&[address], &["a"]).daemon("state_dir", &state), 1);
    assert!(said.contains("in use by process") && said.contains("state_dir"), "{said}");
    assert!(said.contains(&first.pid().unwrap().to_string()), "{said}");
    still_well(first, &mut caller);
    drop(caller);
}

#[test]
fn two_guardds_do_not_share_a_control_socket() {
    if !requires::cgroups("two_guardds_do_not_share_a_control_socket") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let first = Guardd::start(config(&[address], &["a"])).unwrap();
    let mut caller = agent(&first, "a", &url(address), &[]);
    inject(&first, &["--latency", "300ms"]);
    let socket = quoted(&first.socket());
    let said = refused(config(&[address], &["a"]).daemon("control_socket", &socket), 1);
    assert!(said.contains("another guardd") && said.contains("control_socket"), "{said}");
    assert!(said.contains(&first.pid().unwrap().to_string()), "{said}");
    still_well(first, &mut caller);
    drop(caller);
}

/// The first of two is unharmed: it answers, and its fault acts.
fn still_well(guardd: Guardd, caller: &mut testbed::agent::AgentProcess) {
    assert_eq!(guardd.ctl_json(&["status"]).unwrap()["health"], "ok");
    assert!(caller.call(LIMIT).unwrap().total_us >= 600_000.0);
    assert_eq!(guardd.ctl(&["fault", "clear", "--all"]).unwrap().code, 0);
    caller.process().kill().unwrap();
    wait::until("a to be empty", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    guardd.finish().unwrap();
}

#[test]
fn a_metrics_port_in_use_is_named() {
    if !requires::cgroups("a_metrics_port_in_use_is_named") {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = GuarddConfig::new("[bulkheads.a]\n");
    let said = refused(config.daemon("metrics_listen", &format!("\"{address}\"")), 1);
    assert!(said.contains("daemon.metrics_listen") && said.contains(&address), "{said}");
    assert!(said.contains("\"off\""), "the cure: {said}");
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    if !requires::cgroups("what_is_not_a_socket_is_left_alone") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("precious");
    fs::write(&file, "data").unwrap();
    let config = GuarddConfig::new("[bulkheads.a]\n").daemon("control_socket", &quoted(&file));
    let said = refused(config, 1);
    assert!(said.contains("not a socket") && said.contains("control_socket"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "data");
}

#[test]
fn a_cgroup_root_that_is_none_is_refused() {
    if !requires::cgroups("a_cgroup_root_that_is_none_is_refused") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path(), &link).unwrap();
    for (root, why) in [
        (directory.path().to_owned(), "not on a cgroup2"),
        (link.clone(), "not on a cgroup2"),
        (directory.path().join("absent"), "cannot be found"),
    ] {
        let config = GuarddConfig::new("[bulkheads.a]\n").daemon("cgroup_root", &quoted(&root));
        let said = refused(config, 1);
        assert!(said.contains(why) && said.contains("cure: "), "{said}");
        assert!(said.contains(&*root.to_string_lossy()), "{said}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was made there");
    // A link to a real one: what it leads to is used, and shown.
    let scratch = testbed::cgroup::ScratchCgroup::new("linked").unwrap();
    let link = directory.path().join("good");
    std::os::unix::fs::symlink(scratch.path(), &link).unwrap();
    let config = GuarddConfig::new("[bulkheads.a]\n").daemon("cgroup_root", &quoted(&link));
    let guardd = Guardd::start(config).unwrap();
    let status = guardd.ctl_json(&["status"]).unwrap();
    assert_eq!(status["cgroup_root"], scratch.path().display().to_string());
    guardd.finish().unwrap();
    assert!(scratch.below().is_empty());
}

/// A small file system, unmounted on drop.
struct Small {
    directory: tempfile::TempDir,
}

impl Small {
    fn new(options: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("guard-test-small-").tempdir().unwrap();
        let kind = Some("tmpfs");
        mount(kind, directory.path(), kind, MsFlags::empty(), Some(options)).unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Fills it to the last byte.
    fn fill(&self) -> PathBuf {
        let path = self.directory.path().join("filler");
        let mut file = fs::File::create(&path).unwrap();
        for size in [4096, 1] {
            while std::io::Write::write_all(&mut file, &vec![b'x'; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = umount2(self.directory.path(), MntFlags::MNT_DETACH);
        assert!(matches!(unmounted, Ok(()) | Err(Errno::EINVAL)), "{unmounted:?}");
    }
}

/// What cannot be written down is not done: an undo that is lost could never be made.
#[test]
fn a_full_state_directory_refuses_what_needs_an_undo() {
    if !requires::cgroups("a_full_state_directory_refuses_what_needs_an_undo") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let small = Small::new("size=32k");
    let full = config(&[address], &["a"]).daemon("state_dir", &quoted(&small.path()));
    let mut guardd = Guardd::start(full.clone()).unwrap();
    let mut caller = agent(&guardd, "a", &url(address), &[]);
    let filler = small.fill();
    let latency = ["fault", "inject", "--bulkhead", "a", "--service", "api", "--for", "60s"];
    let latency = [&latency[..], &["--latency", "300ms"]].concat();
    // The log's last page has room for a few entries; each fault takes some of it.
    let mut before = Vec::new();
    let refused = (0..50).find_map(|_| {
        before = guardd.leftovers();
        let answer = guardd.ctl(&latency).unwrap();
        if answer.code == 0 {
            assert_eq!(guardd.ctl(&["fault", "clear", "--all"]).unwrap().code, 0);
        }
        (answer.code != 0).then_some(answer)
    });
    let no = refused.unwrap();
    assert_eq!(no.code, 1, "{no:?}");
    assert!(no.stderr.contains("undo.log") && no.stderr.contains("No space"), "{}", no.stderr);
    assert_eq!(guardd.leftovers(), before, "nothing is half made");
    let list = guardd.ctl_json(&["fault", "list"]).unwrap();
    let ended = |fault: &serde_json::Value| fault["state"] == "ended";
    assert!(list["faults"].as_array().unwrap().iter().all(ended), "{list}");
    assert!(caller.call(LIMIT).unwrap().total_us < 300_000.0);
    // What changes nothing on the host goes on.
    inject(&guardd, &["--refuse", "100%"]);
    assert_eq!(caller.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    assert_eq!(guardd.ctl(&["fault", "clear", "--all"]).unwrap().code, 0);
    // A new bulkhead needs a cgroup, and that an entry. It is a short one: a few may still fit.
    let mut bulkheads = vec!["[bulkheads.a]\n".to_owned()];
    let refused = (0..50).find_map(|number| {
        bulkheads.push(format!("[bulkheads.b{number}]\n"));
        let more =
            GuarddConfig::new(bulkheads.concat()).daemon("state_dir", &quoted(&small.path()));
        guardd.set_config(more).unwrap();
        let answer = guardd.ctl(&["reload"]).unwrap();
        (answer.code != 0).then(|| (answer, format!("b{number}")))
    });
    let (no, name) = refused.unwrap();
    assert!(no.code == 1 && no.stderr.contains("No space"), "{no:?}");
    assert!(!guardd.bulkhead(&name).exists());

    // Room again: it works, and is clean at the end.
    fs::remove_file(&filler).unwrap();
    guardd.set_config(full).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert_eq!(guardd.ctl(&latency).unwrap().code, 0);
    assert!(caller.call(LIMIT).unwrap().total_us >= 600_000.0);
    // Full once more with a fault active: its end and the stop still clear the host.
    small.fill();
    drop(caller);
    wait::until("a to be empty", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    guardd.finish().unwrap();
}

#[test]
fn a_state_directory_that_cannot_be_written_is_refused_at_the_start() {
    if !requires::cgroups("a_state_directory_that_cannot_be_written_is_refused_at_the_start") {
        return;
    }
    let full = Small::new("size=8k");
    full.fill();
    let read_only = Small::new("size=32k,ro");
    for (small, why) in [(&full, "No space"), (&read_only, "Read-only")] {
        let config = GuarddConfig::new("[bulkheads.a]\n");
        let said = refused(config.daemon("state_dir", &quoted(&small.path())), 1);
        let path = small.path().display().to_string();
        assert!(said.contains(why) && said.contains(&path), "{said}");
    }
}

/// Another user than root, and root without one capability: said by name before anything is made.
#[test]
fn missing_rights_are_named() {
    let test = "missing_rights_are_named";
    if !requires::cgroups(test) || !requires::program(test, "setpriv") {
        return;
    }
    let guardd = Guardd::prepare(GuarddConfig::new("[bulkheads.a]\n")).unwrap();
    let public = PublicBinary::new("guardd");
    let readable = public.beside("guard.toml");
    fs::copy(guardd.config_path(), &readable).unwrap();
    let (code, said) = ends(spawn(&readable, |command| {
        let mut nobody = public.as_nobody();
        nobody.args(command.get_args());
        nobody
    }));
    assert_eq!(code, 1, "{said}");
    for name in ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "run it as root"] {
        assert!(said.contains(name), "{name}? {said}");
    }
    for (without, name) in [
        ("-net_admin", "CAP_NET_ADMIN"),
        ("-bpf,-sys_admin", "CAP_BPF"),
        ("-perfmon,-sys_admin", "CAP_PERFMON"),
    ] {
        let (code, said) = ends(spawn(&guardd.config_path(), |command| {
            let mut less = Command::new("setpriv");
            less.args(["--bounding-set", without, "--"]);
            less.arg(command.get_program()).args(command.get_args());
            less
        }));
        assert_eq!(code, 1, "{without}: {said}");
        let error = said.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(error.contains(&format!("missing {name} (")), "{without}: {error}");
        let others = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"];
        assert_eq!(others.iter().filter(|other| error.contains(*other)).count(), 1, "{error}");
    }
    assert_eq!(guardd.leftovers(), [""; 0]);
    assert!(!guardd.state_dir().exists(), "rights are looked at first");
}
