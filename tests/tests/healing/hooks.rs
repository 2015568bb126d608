//! What hooks start goes with them, whatever it does; and as whom they run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testbed::guardd::Guardd;
use testbed::wait;

use crate::LIMIT;
use crate::tries::{run, start};

/// Leaves the hook's session and process group, and its parent; its number is then in the file.
fn escape(file: &Path) -> String {
    let file = file.display();
    format!(
        "setsid sh -c '(sleep 600 & echo $! > {file}) &' & while [ ! -s {file} ]; do sleep 0.01; done"
    )
}

fn runs(pid_file: &Path) -> bool {
    let pid = fs::read_to_string(pid_file).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Cgroups of hooks that are there now.
fn cgroups(guardd: &Guardd) -> Vec<PathBuf> {
    let all = guardd.bulkhead("research").parent().unwrap().join("guard-hooks");
    let Ok(entries) = fs::read_dir(all) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
}

#[test]
fn what_calls_setsid_and_forks_away_is_ended_with_the_hook() {
    let files = tempfile::tempdir().unwrap();
    let pid = files.path().join("pid");
    let guardd = start(&escape(&pid), "");
    let step = run(&guardd);
    assert_eq!(step["result"], "done", "{step:#}");
    assert_eq!(step["message"], "exit code 0; processes that it left were ended: 1");
    assert!(!runs(&pid));
    assert!(cgroups(&guardd).is_empty());
    guardd.finish().unwrap();
}

#[test]
fn and_so_is_that_of_a_hook_that_hangs() {
    let files = tempfile::tempdir().unwrap();
    let pid = files.path().join("pid");
    let guardd = start(&format!("{}; sleep 600", escape(&pid)), ", timeout = \"500ms\"");
    let step = run(&guardd);
    assert_eq!(step["result"], "timed_out", "{step:#}");
    assert!(!runs(&pid));
    assert!(cgroups(&guardd).is_empty());
    guardd.finish().unwrap();
}

/// Ending a hook is a failure of its try; that must not begin another while guardd stops.
#[test]
fn a_hook_that_is_ended_by_guardds_stop_is_not_tried_again() {
    let files = tempfile::tempdir().unwrap();
    let tries = files.path().join("tries");
    let script = format!("trap 'exit 1' TERM; echo >> {}; sleep 600", tries.display());
    let mut guardd = start(&script, ", timeout = \"10m\", retry = \"quick\"");
    let mut asking = Command::new(testbed::process::binary("guardctl").unwrap())
        .arg("--socket")
        .arg(guardd.socket())
        .args(["recover", "hook"])
        .spawn()
        .unwrap();
    wait::until("the hook", LIMIT, || tries.exists()).unwrap();
    guardd.stop().unwrap();
    assert!(cgroups(&guardd).is_empty());
    asking.wait().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(fs::read_to_string(&tries).unwrap().lines().count(), 1);
    guardd.finish().unwrap();
}

/// guardd stops, is killed and started again, or is killed and cleaned up: nothing stays.
#[test]
fn hooks_that_run_when_guardd_ends_are_ended_too() {
    for how in ["stop", "restart", "cleanup"] {
        let files = tempfile::tempdir().unwrap();
        let pid = files.path().join("pid");
        let mut guardd = start(&format!("{}; sleep 600", escape(&pid)), ", timeout = \"10m\"");
        let mut asking = Command::new(testbed::process::binary("guardctl").unwrap())
            .arg("--socket")
            .arg(guardd.socket())
            .args(["recover", "hook"])
            .spawn()
            .unwrap();
        let there = || fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'));
        wait::until("the hook", LIMIT, there).unwrap();
        assert!(runs(&pid));
        assert_eq!(cgroups(&guardd).len(), 1);
        match how {
            "restart" => {
                guardd.sigkill().unwrap();
                assert!(runs(&pid), "nobody has ended it yet");
                guardd.restart().unwrap();
                assert!(cgroups(&guardd).is_empty());
                assert!(!runs(&pid), "{how}");
            }
            "cleanup" => {
                guardd.sigkill().unwrap();
                let cleanup = guardd.cleanup().unwrap();
                assert!(cleanup.stdout.contains("HookCgroup"), "{}", cleanup.stdout);
            }
            _ => {}
        }
        // It fails for what is left.
        guardd.finish().unwrap();
        asking.wait().unwrap();
        let gone = wait::until("its end", Duration::from_secs(3), || !runs(&pid));
        assert!(gone.is_ok(), "{how}");
    }
}

#[test]
fn a_command_runs_as_the_user_that_its_step_names() {
    let said = |flag: &str| {
        let output = Command::new("id").args([flag, "nobody"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let script = "echo $(id -u) $(id -g) $(id -G) $USER $GUARD_RULE $(grep -c 'Cap[PE].*:.0*$' \
                  /proc/self/status) $(cat /etc/shadow 2>/dev/null | wc -c)";
    let guardd = start(script, ", user = \"nobody\"");
    let step = run(&guardd);
    let wanted =
        format!("exit code 0: {} {} {} nobody hook 2 0", said("-u"), said("-g"), said("-G"));
    assert_eq!(step["message"], wanted.as_str(), "{step:#}");
    guardd.finish().unwrap();
    let guardd = start("id -u", ", user = \"4000000\"");
    let step = run(&guardd);
    assert_eq!(step["result"], "failed", "{step:#}");
    assert!(step["message"].as_str().unwrap().contains("has no entry"), "{step:#}");
    guardd.finish().unwrap();
}

/// As before there were cgroups for them: the hook runs, and what has left its process group stays.
#[test]
fn where_no_cgroup_can_be_made_the_hook_runs_all_the_same() {
    let files = tempfile::tempdir().unwrap();
    let pid = files.path().join("pid");
    let guardd = start(&escape(&pid), "");
    let root = guardd.bulkhead("research").parent().unwrap().to_owned();
    fs::write(root.join("cgroup.max.descendants"), "1").unwrap();
    let step = run(&guardd);
    fs::write(root.join("cgroup.max.descendants"), "max").unwrap();
    assert_eq!(step["result"], "done", "{step:#}");
    assert_eq!(step["message"], "exit code 0");
    assert!(runs(&pid), "it has escaped");
    let left = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let left = nix::unistd::Pid::from_raw(left);
    nix::sys::signal::kill(left, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert!(cgroups(&guardd).is_empty());
    guardd.finish().unwrap();
}
