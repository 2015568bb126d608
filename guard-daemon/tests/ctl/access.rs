//! Who may. Other users are real ones here: `setpriv` gives up root for the uid and the groups.

use std::process::Command;

use guard_daemon::control::{AccessRule, SocketGroup};

use crate::rig::{Answer, Rig};

/// A group that no host has by accident; a process may carry it without any group database.
const GID: u32 = 61_234;

fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIPPED {test}: becoming another user needs root");
    }
    root
}

fn rig_with_group() -> Rig {
    let group = SocketGroup { gid: GID, name: "guard".into() };
    let rig = Rig::with_access(AccessRule::new(Some(group)));
    rig.open_to_all();
    rig
}

fn as_nobody(rig: &Rig, groups: &[&str], arguments: &[&str]) -> Answer {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534"]).args(groups).arg("--").arg(rig.public_guardctl());
    command.env("GUARD_SOCKET", &rig.socket).current_dir("/").args(arguments);
    Answer::of(&mut command)
}

#[test]
fn a_stranger_is_refused_and_counted_and_nothing_is_done() {
    if !is_root("a_stranger_is_refused_and_counted_and_nothing_is_done") {
        return;
    }
    let rig = rig_with_group();
    let stranger = ["--regid", "65534", "--clear-groups"];
    let answer = as_nobody(&rig, &stranger, &["halt", "mischief"]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.err.contains("uid 65534"), "{}", answer.err);
    assert!(
        answer.err.contains("help: use sudo, or add the user to group guard"),
        "{}",
        answer.err
    );
    let json = as_nobody(&rig, &stranger, &["status", "--json"]).json();
    assert_eq!(json["exit_code"], 2);
    assert!(rig.handler.halts.lock().unwrap().is_empty());
    let refused = rig.handler.refused.lock().unwrap();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|peer| peer.uid == 65534 && peer.pid > 0), "{refused:?}");
}

#[test]
fn members_of_the_group_may() {
    if !is_root("members_of_the_group_may") {
        return;
    }
    let rig = rig_with_group();
    let gid = GID.to_string();
    let primary = ["--regid", gid.as_str(), "--clear-groups"];
    let supplementary = ["--regid", "65534", "--groups", gid.as_str()];
    for groups in [&primary[..], &supplementary[..]] {
        let answer = as_nobody(&rig, groups, &["halt", "by", "a", "member"]);
        assert_eq!(answer.code, Some(0), "{groups:?} {answer:?}");
    }
    let other = ["--regid", "65534", "--groups", "61235"];
    assert_eq!(as_nobody(&rig, &other, &["status"]).code, Some(2));
    let halts = rig.handler.halts.lock().unwrap();
    assert_eq!(halts.len(), 2);
    assert!(halts.iter().all(|(reason, peer)| reason == "by a member" && peer.uid == 65534));
}

#[test]
fn the_mode_of_the_socket_alone_keeps_strangers_out() {
    if !is_root("the_mode_of_the_socket_alone_keeps_strangers_out") {
        return;
    }
    let rig = rig_with_group();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o660);
    std::fs::set_permissions(&rig.socket, mode).unwrap();
    let answer = as_nobody(&rig, &["--regid", "65534", "--clear-groups"], &["status"]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.err.contains("no permission"), "{}", answer.err);
    assert!(answer.err.contains("help: use sudo"), "{}", answer.err);
    assert!(rig.handler.refused.lock().unwrap().is_empty(), "the kernel refused it");
}
