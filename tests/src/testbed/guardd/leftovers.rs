//! What a guardd could leave on the host. Only traces of the one guardd under test are looked
//! for, by its unique paths: what others do on this host is not its fault.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cgroup::ScratchCgroup;

/// One line per thing that is still there.
pub(super) fn find(directory: &Path, cgroup: &ScratchCgroup) -> Vec<String> {
    let mut found = Vec::new();
    let unique = cgroup.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    for path in cgroup.below() {
        found.push(format!("cgroup {}", path.display()));
    }
    let control = fs::read_to_string(cgroup.path().join("cgroup.subtree_control"));
    let control = control.unwrap_or_default();
    if !control.trim().is_empty() {
        found.push(format!("controllers switched on: {}", control.trim()));
    }
    let socket = directory.join("guardd.sock");
    if socket.exists() {
        found.push(format!("control socket {}", socket.display()));
    }
    let gates = directory.join("gates");
    if gates.exists() {
        found.push(format!("directory {}", gates.display()));
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let ours = directory.display().to_string();
    found.extend(mounts.lines().filter(|l| l.contains(&ours)).map(|l| format!("mount {l}")));
    for program in ["iptables-save", "ip6tables-save", "iptables-legacy-save", "iptables-nft-save"]
    {
        // A program that is not installed has put no rule anywhere.
        let Ok(output) = Command::new(program).output() else { continue };
        let rules = String::from_utf8_lossy(&output.stdout).into_owned();
        // A jump names the cgroup, the rule behind it the gate's file.
        let traces = rules.lines().filter(|line| line.contains(&unique) || line.contains(&ours));
        found.extend(traces.map(|line| format!("{program}: {line}")));
    }
    found
}
