//! What of the demo is on the host: found by its name and its mark alone, whoever made it. Things
//! without them are other people's and neither counted nor touched.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::setup::{NAME, Setup};
use testbed::cgroup;

/// In the environment of every process that the demo starts.
pub(crate) const MARK: (&str, &str) = ("GUARD_DEMO", "1");

/// What is there, one line each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Cgroups named after the demo, and those below.
    pub(crate) cgroups: Vec<String>,
    /// Netfilter rules that name the demo.
    pub(crate) rules: Vec<String>,
    /// Mounts below the demo's directory.
    pub(crate) mounts: Vec<String>,
    /// Processes with the demo's mark.
    pub(crate) processes: Vec<String>,
    /// The demo's directory.
    pub(crate) files: Vec<String>,
}

/// Looks at everything.
pub(crate) fn find(setup: &Setup) -> Found {
    let own = setup.directory.display().to_string();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found = Found {
        rules: rules(),
        mounts: mounts.lines().filter(|line| line.contains(&own)).map(str::to_owned).collect(),
        processes: marked_processes().iter().map(ToString::to_string).collect(),
        ..Found::default()
    };
    if setup.directory.exists() {
        found.files.push(own);
    }
    if let Ok(mount) = cgroup::mount_point() {
        cgroups(&mount, false, &mut found.cgroups);
    }
    found
}

impl Found {
    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines().is_empty()
    }

    /// `cgroups 0, rules 0, mounts 0, processes 0, files 0`.
    pub(crate) fn counts(&self) -> String {
        let kinds = self.kinds().map(|(kind, lines)| format!("{kind} {}", lines.len()));
        kinds.join(", ")
    }

    /// Each thing with its kind.
    pub(crate) fn lines(&self) -> Vec<String> {
        let kinds = self.kinds();
        let lines = kinds.iter().flat_map(|(kind, lines)| {
            lines.iter().map(move |line| format!("{}: {line}", kind.trim_end_matches('s')))
        });
        lines.collect()
    }

    fn kinds(&self) -> [(&'static str, &Vec<String>); 5] {
        [
            ("cgroups", &self.cgroups),
            ("rules", &self.rules),
            ("mounts", &self.mounts),
            ("processes", &self.processes),
            ("files", &self.files),
        ]
    }
}

/// Netfilter rules of either family that name a cgroup or a file of the demo.
fn rules() -> Vec<String> {
    let below = format!("{NAME}/");
    // Either flavour's own listing, since the plain one shows only the flavour in use; that one
    // where there is no other. The same rule twice is one.
    let mut all = BTreeSet::new();
    for family in ["iptables", "ip6tables"] {
        let flavours = ["-nft-save", "-legacy-save", "-save"].map(|end| format!("{family}{end}"));
        for program in flavours {
            // A program that is not installed has put no rule anywhere.
            let Ok(output) = Command::new(program).output() else { continue };
            let text = String::from_utf8_lossy(&output.stdout);
            let named = |line: &&str| line.starts_with("-A") && line.contains(&below);
            all.extend(text.lines().filter(named).map(|rule| format!("{family} {rule}")));
        }
    }
    all.into_iter().collect()
}

/// The demo's cgroups, deepest first.
fn cgroups(directory: &Path, ours: bool, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let (path, ours) = (entry.path(), ours || entry.file_name() == NAME);
            cgroups(&path, ours, found);
            if ours {
                found.push(path.display().to_string());
            }
        }
    }
}

/// Ids of the processes with the demo's mark.
pub(crate) fn marked_processes() -> Vec<i32> {
    let mark = format!("{}={}", MARK.0, MARK.1);
    let marked = |directory: &PathBuf| {
        // One that ends meanwhile, and one that is dead already, has no environment.
        let environment = fs::read(directory.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let pid = |path: PathBuf| path.file_name()?.to_str()?.parse().ok();
    processes.filter(marked).filter_map(pid).collect()
}

/// Removes the demo's directory with the state in it; never through a mount.
pub(crate) fn remove_directory(setup: &Setup) -> Result<()> {
    let mounts = find(setup).mounts;
    ensure!(mounts.is_empty(), "still mounted: {}", mounts.join("; "));
    match fs::remove_dir_all(&setup.directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", setup.directory.display()))
        }
        _ => Ok(()),
    }
}
