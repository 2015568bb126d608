//! What is left of runs whose main process has ended.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::process::Process;
use testbed::{requires, timing, wait};

use crate::rig::{LIMIT, events, events_when, metric};
use crate::{ctl, runs};

/// Shell words that start a process which outlives the shell, and say its pid.
const LEAVE_ONE: &str = "sleep 600 >/dev/null 2>&1 & echo $!";

fn start(orphans: &str) -> Guardd {
    let mut config = GuarddConfig::simple(&[], &["research", "writing"]);
    config.append(&format!("[bulkheads.writing.orphans]\n{orphans}\n"));
    Guardd::start(config).unwrap()
}

/// Runs a script in `writing` that says one pid per word; those pids. The script has ended.
fn leave(guardd: &Guardd, options: &[&str], script: &str) -> Vec<u32> {
    let all = [&["exec"], options, &["writing", "--", "sh", "-c", script]].concat();
    let output = ctl(guardd, &all).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn end(pids: &[u32]) {
    for pid in pids {
        kill(Pid::from_raw(*pid as i32), Signal::SIGKILL).unwrap();
    }
}

fn orphans(guardd: &Guardd) -> u64 {
    let status = guardd.ctl_json(&["status"]).unwrap();
    let bulkheads = status["bulkheads"].as_array().unwrap();
    bulkheads.iter().find(|b| b["name"] == "writing").unwrap()["orphans"].as_u64().unwrap()
}

fn orphans_become(guardd: &Guardd, wanted: u64) {
    let became = wait::until("orphans", LIMIT, || orphans(guardd) == wanted);
    assert!(became.is_ok(), "{} orphans instead of {wanted}", orphans(guardd));
}

#[test]
fn they_are_reported_and_left_alone_unless_asked() {
    if !requires::cgroups("they_are_reported_and_left_alone_unless_asked") {
        return;
    }
    let mut guardd = start("after = \"400ms\"\ngrace = \"100ms\"");
    // One whose main process runs is none.
    let mut main = Process::spawn(&mut ctl(
        &guardd,
        &["exec", "writing", "--", "sh", "-c", "sleep 600 & read x"],
    ))
    .unwrap();
    std::thread::sleep(timing::at_most(Duration::from_secs(2)));
    assert_eq!(orphans(&guardd), 0);
    // In a cgroup of its own a run has its own end.
    let left = leave(&guardd, &["--sub=tests"], &format!("{LEAVE_ONE}; {LEAVE_ONE}"));
    orphans_become(&guardd, 2);
    let told = events_when(&guardd, "orphans", 1);
    let message = told[0]["message"].as_str().unwrap();
    assert!(message.contains("writing/tests") && message.contains("(sleep)"), "{message}");
    assert_eq!(metric(&guardd, "guard_bulkhead_orphans", &["bulkhead=\"writing\""]), 2.0);
    assert_eq!(metric(&guardd, "guard_bulkhead_orphans", &["bulkhead=\"research\""]), 0.0);
    let status = guardd.ctl(&["status"]).unwrap();
    assert!(status.stdout.contains("bulkhead writing/tests: left "), "{status:?}");
    std::thread::sleep(timing::at_most(Duration::from_secs(2)));
    assert!(left.iter().all(|pid| runs(*pid)), "only reported");
    assert_eq!(events(&guardd, "orphans").len(), 1, "told once");

    // The main process ends while guardd is down: the next one knows it, and what is left.
    guardd.sigkill().unwrap();
    main.kill().unwrap();
    guardd.restart().unwrap();
    orphans_become(&guardd, 3);
    end(&left);
    orphans_become(&guardd, 1);
    assert!(!guardd.bulkhead("writing/tests").exists());
    let others = fs::read_to_string(guardd.bulkhead("writing/cgroup.procs")).unwrap();
    end(&[others.trim().parse().unwrap()]);
    orphans_become(&guardd, 0);
    guardd.finish().unwrap();
}

#[test]
fn they_are_ended_politely_and_then_by_force() {
    if !requires::cgroups("they_are_ended_politely_and_then_by_force") {
        return;
    }
    let guardd = start("after = \"300ms\"\ngrace = \"1s\"\naction = \"end\"");
    let deaf = "(trap '' TERM; exec sleep 600) >/dev/null 2>&1 & echo $!";
    let left = leave(&guardd, &[], &format!("{LEAVE_ONE}; {deaf}"));
    wait::until("the polite end", LIMIT, || !runs(left[0])).unwrap();
    assert!(runs(left[1]), "it has its grace");
    // A run beside it, in a cgroup below: it must not be hit by the end of the others.
    let mut beside = Process::spawn(&mut ctl(
        &guardd,
        &["exec", "--sub=beside", "writing", "--", "sleep", "600"],
    ))
    .unwrap();
    wait::until("the end by force", LIMIT, || !runs(left[1])).unwrap();
    orphans_become(&guardd, 0);
    let ended = events_when(&guardd, "orphans_ended", 2);
    let message = |index: usize| ended[index]["message"].as_str().unwrap().to_owned();
    assert!(message(0).contains("SIGTERM to 2"), "{}", message(0));
    assert!(message(1).contains("SIGKILL"), "{}", message(1));
    assert!(runs(beside.pid()));
    // And in a cgroup of its own, all of it at once.
    let left = leave(&guardd, &["--sub=tests"], &format!("{deaf}; {deaf}"));
    wait::until("the end by force", LIMIT, || left.iter().all(|pid| !runs(*pid))).unwrap();
    let path = guardd.bulkhead("writing/tests");
    wait::until("its cgroup to go", LIMIT, || !path.exists()).unwrap();
    assert!(runs(beside.pid()));
    beside.kill().unwrap();
    let empty = || guardd.cgroup().processes().is_empty();
    wait::until("the bulkheads to be empty", LIMIT, empty).unwrap();
    guardd.finish().unwrap();
}

#[test]
fn beside_a_multiplexer_nothing_is_ended() {
    if !requires::cgroups("beside_a_multiplexer_nothing_is_ended") {
        return;
    }
    let guardd = start("after = \"300ms\"\ngrace = \"100ms\"\naction = \"end\"");
    // What counts is the name that the kernel has.
    let tmux = "sh -c 'printf \"tmux: server\" > /proc/self/comm; while :; do sleep 1; done' \
                >/dev/null 2>&1 & echo $!";
    let left = leave(&guardd, &[], &format!("{LEAVE_ONE}; {tmux}"));
    let spared = events_when(&guardd, "orphans_spared", 1);
    let message = spared[0]["message"].as_str().unwrap();
    assert!(message.contains("(tmux: server) in the same cgroup"), "{message}");
    std::thread::sleep(timing::at_most(Duration::from_secs(2)));
    assert!(left.iter().all(|pid| runs(*pid)));
    assert_eq!(events(&guardd, "orphans_spared").len(), 1, "told once");
    assert_eq!(events(&guardd, "orphans_ended").len(), 0);
    // Without it the rest goes.
    end(&left[1..]);
    wait::until("the end", LIMIT, || !runs(left[0])).unwrap();
    let empty = || guardd.cgroup().processes().is_empty();
    wait::until("the bulkheads to be empty", LIMIT, empty).unwrap();
    guardd.finish().unwrap();
}

#[test]
fn nothing_is_ended_in_cgroups_of_others_nor_by_a_monitor() {
    if !requires::cgroups("nothing_is_ended_in_cgroups_of_others_nor_by_a_monitor") {
        return;
    }
    let orphans = "after = \"300ms\"\ngrace = \"100ms\"\naction = \"end\"";
    let mut config = GuarddConfig::simple(&[], &["research", "writing"]);
    config.append(&format!("[bulkheads.writing.orphans]\n{orphans}\n"));
    let mut guardd = Guardd::prepare(config.clone()).unwrap();
    let others = guardd.cgroup().child("writing").unwrap();
    guardd.launch().unwrap();
    guardd.wait_ready().unwrap();
    let left = leave(&guardd, &[], LEAVE_ONE);
    let spared = events_when(&guardd, "orphans_spared", 1);
    assert!(spared[0]["message"].as_str().unwrap().contains("did not make"), "{spared:?}");
    assert!(runs(left[0]));
    end(&left);
    let empty = || guardd.cgroup().processes().is_empty();
    wait::until("the bulkheads to be empty", LIMIT, empty).unwrap();
    assert!(guardd.stop().unwrap().success());
    fs::remove_dir(others).unwrap();

    guardd.set_config(config.daemon("mode", "\"monitor\"")).unwrap();
    guardd.restart().unwrap();
    let left = leave(&guardd, &[], LEAVE_ONE);
    let spared = events_when(&guardd, "orphans_spared", 1);
    assert!(spared[0]["message"].as_str().unwrap().contains("would have ended"), "{spared:?}");
    assert_eq!(metric(&guardd, "guard_would_have_total", &["action=\"end_orphan\""]), 1.0);
    std::thread::sleep(timing::at_most(Duration::from_secs(1)));
    assert!(runs(left[0]));
    end(&left);
    wait::until("the bulkheads to be empty", LIMIT, || guardd.cgroup().processes().is_empty())
        .unwrap();
    guardd.finish().unwrap();
}
