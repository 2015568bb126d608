//! Bulkheads that belong to users who are not root.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::process::{Process, binary};
use testbed::{requires, wait};

use crate::rig::LIMIT;
use crate::{NOBODY, cgroup_of, ctl, open, run};

/// Another user without rights.
const STRANGER: u32 = 65_533;

fn config(owner: &str) -> GuarddConfig {
    let mut config = GuarddConfig::simple(&[], &["research", "writing"]);
    config.append(&format!("[bulkheads.owned]\ncgroup = \"owned\"\n{owner}\n"));
    config
}

fn start() -> Guardd {
    let guardd = Guardd::start(config("owner = \"65534\"")).unwrap();
    fs::copy(binary("guardctl").unwrap(), guardd.directory().join("guardctl")).unwrap();
    open(guardd.directory());
    guardd
}

fn ctl_as(guardd: &Guardd, uid: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new(guardd.directory().join("guardctl"));
    command.uid(uid).gid(uid).current_dir("/");
    command.arg("--socket").arg(guardd.socket()).args(arguments);
    command
}

fn owner(path: &Path) -> u32 {
    fs::metadata(path).unwrap().uid()
}

#[test]
fn an_owner_runs_commands_in_its_bulkhead_and_nothing_else() {
    if !requires::cgroups("an_owner_runs_commands_in_its_bulkhead_and_nothing_else") {
        return;
    }
    let guardd = start();
    let owned = guardd.bulkhead("owned");
    let script = "cat /proc/self/cgroup; id -u; mkdir \"$0/mine\" && echo $$ > \"$0/mine/cgroup.procs\"; \
                  cat /proc/self/cgroup; echo 5 > \"$0/cgroup.freeze\"";
    let path = owned.display().to_string();
    let exec = ["exec", "owned", "--", "/bin/sh", "-c", script, &path];
    let (_, out, said) = run(&mut ctl_as(&guardd, NOBODY, &exec));
    let lines: Vec<_> = out.lines().filter(|l| !l.contains(':') || l.starts_with("0::")).collect();
    assert!(lines[0].ends_with("/owned") && lines[1] == NOBODY.to_string(), "{out} {said}");
    assert!(lines[2].ends_with("/owned/mine"), "a cgroup of its own: {out} {said}");
    assert!(said.contains("cgroup.freeze"), "settings stay root's: {said}");
    wait::until("the run to end", LIMIT, || fs::remove_dir(owned.join("mine")).is_ok()).unwrap();
    // The cgroup of a run is given to it too.
    let mut running = Process::spawn(
        ctl_as(&guardd, NOBODY, &["exec", "--sub=mine", "owned", "--", "sleep", "600"])
            .env("PATH", "/usr/bin:/bin"),
    )
    .unwrap();
    wait::until("the run", LIMIT, || cgroup_of(running.pid()).ends_with("/owned/mine")).unwrap();
    assert_eq!(owner(&owned.join("mine/cgroup.procs")), NOBODY);

    // Given are the directory and three files.
    let mut given: Vec<String> = fs::read_dir(&owned)
        .unwrap()
        .flatten()
        .filter(|entry| entry.metadata().is_ok_and(|m| m.is_file() && m.uid() == NOBODY))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    given.sort();
    assert_eq!(given, ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]);
    assert_eq!((owner(&owned), owner(&guardd.bulkhead("research"))), (NOBODY, 0));

    // What it may not.
    let roots = Process::run("sleep", &["600"]).unwrap();
    let pid = roots.pid().to_string();
    for (arguments, why) in [
        (&["status"][..], "nothing else"),
        (&["halt", "mischief"], "nothing else"),
        (&["fault", "list"], "nothing else"),
        (&["move", "research", "1"], "does not own bulkhead research"),
        (&["move", "owned", &pid], "is not uid 65534's own"),
    ] {
        let (code, _, said) = run(&mut ctl_as(&guardd, NOBODY, arguments));
        assert!(code == 2 && said.contains(why), "{arguments:?}: {code} {said}");
    }
    let (code, out, said) =
        run(&mut ctl_as(&guardd, NOBODY, &["exec", "research", "--", "echo", "ran"]));
    assert!(code == 125 && out.is_empty() && said.contains("does not own"), "{code} {said}");
    // Nor does it get a process out of a bulkhead that is not its own.
    let user = format!("{NOBODY}:{NOBODY}");
    let mut held = Process::spawn(&mut ctl(
        &guardd,
        &["exec", "--user", &user, "research", "--", "sleep", "600"],
    ))
    .unwrap();
    wait::until("it", LIMIT, || cgroup_of(held.pid()).ends_with("/research")).unwrap();
    let pid = held.pid().to_string();
    let (code, _, said) = run(&mut ctl_as(&guardd, NOBODY, &["move", "owned", &pid]));
    assert!(code == 2 && said.contains("is in bulkhead research"), "{code} {said}");
    let script = "sleep 600 & echo $!; wait";
    let mut own =
        Process::spawn(Command::new("/bin/sh").uid(NOBODY).gid(NOBODY).args(["-c", script]))
            .unwrap();
    let child = own.next_line(LIMIT).unwrap();
    assert_eq!(guardd.ctl(&["move", "writing", &child]).unwrap().code, 0);
    let own_pid = own.pid().to_string();
    let moved = run(&mut ctl_as(&guardd, NOBODY, &["move", "--tree", "owned", &own_pid]));
    assert_eq!(moved.0, 0, "{moved:?}");
    let child: u32 = child.parse().unwrap();
    assert!(cgroup_of(own.pid()).ends_with("/owned") && cgroup_of(child).ends_with("/writing"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child as i32), nix::sys::signal::SIGKILL)
        .unwrap();
    own.wait(LIMIT).unwrap();
    // Others do not even connect.
    let (code, _, said) = run(&mut ctl_as(&guardd, STRANGER, &["exec", "owned", "--", "true"]));
    assert!(code == 125 && said.contains("no permission to use"), "{code} {said}");
    assert_eq!(fs::metadata(guardd.socket()).unwrap().mode() & 0o777, 0o660);
    held.kill().unwrap();
    running.kill().unwrap();
    drop(roots);
    let empty = || guardd.cgroup().processes().is_empty();
    wait::until("the bulkheads to be empty", LIMIT, empty).unwrap();
    guardd.finish().unwrap();
}

#[test]
fn what_was_given_is_taken_back() {
    if !requires::cgroups("what_was_given_is_taken_back") {
        return;
    }
    let mut guardd = start();
    let owned = guardd.bulkhead("owned");
    let all = [".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];
    let owners = || all.map(|name| owner(&owned.join(name)));
    assert_eq!(owners(), [NOBODY; 4]);
    guardd.set_config(config("")).unwrap();
    let reloaded = guardd.ctl(&["reload"]).unwrap();
    assert!(reloaded.stdout.contains("owner 65534 -> none"), "{reloaded:?}");
    assert_eq!(owners(), [0; 4]);
    let exec = ["exec", "owned", "--", "true"];
    let (code, _, said) = run(&mut ctl_as(&guardd, NOBODY, &exec));
    assert!(code == 125 && said.contains("no permission to use"), "{code} {said}");
    // A user that is none is a problem of this bulkhead, and of no other.
    guardd.set_config(config("owner = \"no-such-user\"")).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    let status = guardd.ctl(&["status"]).unwrap();
    assert!(status.stdout.contains("\"no-such-user\" is no user of this host"), "{status:?}");
    guardd.set_config(config("owner = \"65534\"")).unwrap();
    assert_eq!(guardd.ctl(&["reload"]).unwrap().code, 0);
    assert_eq!(owners(), [NOBODY; 4]);

    // After a guardd that was killed, the next one, or `cleanup`, takes it back.
    guardd.sigkill().unwrap();
    assert_eq!(owners(), [NOBODY; 4]);
    guardd.restart().unwrap();
    assert_eq!(owners(), [NOBODY; 4]);
    let (code, ..) = run(&mut ctl_as(&guardd, NOBODY, &exec));
    assert_eq!(code, 0);
    let mut held =
        Process::spawn(&mut ctl(&guardd, &["exec", "owned", "--", "sleep", "600"])).unwrap();
    let comm = format!("/proc/{}/comm", held.pid());
    let is_sleep = || fs::read_to_string(&comm).is_ok_and(|name| name == "sleep\n");
    wait::until("it to have had its answer", LIMIT, is_sleep).unwrap();
    guardd.sigkill().unwrap();
    let left = guardd.cleanup().unwrap();
    assert_eq!(left.code, 3, "the process keeps the cgroup: {left:?}");
    assert_eq!(owners(), [0; 4]);
    held.kill().unwrap();
    let empty = || guardd.cgroup().processes().is_empty();
    wait::until("the bulkheads to be empty", LIMIT, empty).unwrap();
    assert_eq!(guardd.cleanup().unwrap().code, 0);
}
