//! What a drill could leave on the host, beyond what the test-bed looks for: queueing disciplines and
//! netfilter chains that bear the name of a guardd of ours. It only looks.

use std::collections::BTreeSet;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::guardd::Guardd;

const SETTLE: Duration = Duration::from_secs(1);

/// The queueing disciplines of the host's devices.
pub(super) struct Host(BTreeSet<String>);

impl Host {
    pub(super) fn look() -> Result<Self> {
        let output =
            Command::new("tc").args(["qdisc", "show"]).output().context("cannot run tc")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Self(text.lines().map(|line| line.trim().to_owned()).collect()))
    }

    /// What is there now, and was not or can only be of this guardd, whose processes had these ids.
    /// Cgroups of processes that have just ended go a moment later: it looks for a second.
    pub(super) fn left(&self, guardd: &Guardd, pids: &[u32]) -> Result<Vec<String>> {
        let end = Instant::now() + SETTLE;
        loop {
            let left = self.left_now(guardd, pids)?;
            if left.is_empty() || Instant::now() > end {
                return Ok(left);
            }
            thread::sleep(SETTLE / 20);
        }
    }

    fn left_now(&self, guardd: &Guardd, pids: &[u32]) -> Result<Vec<String>> {
        let mut left = guardd.leftovers();
        left.extend(chains(pids));
        // Devices that came meanwhile are others'.
        let known = |line: &str| self.0.iter().any(|old| device(old) == device(line));
        let Self(now) = Self::look()?;
        left.extend(now.difference(&self.0).filter(|line| known(line)).cloned());
        Ok(left)
    }
}

fn device(line: &str) -> Option<&str> {
    let mut words = line.split(' ').skip_while(|word| *word != "dev");
    words.nth(1)
}

/// Lines of netfilter that name a chain of guardds with these process ids (`GUARD-D26400P123`).
pub(super) fn chains(pids: &[u32]) -> Vec<String> {
    let mut found = Vec::new();
    for program in ["iptables-save", "ip6tables-save"] {
        // A program that is not installed has put no rule anywhere.
        let Ok(output) = Command::new(program).output() else { continue };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let ours = |word: &str| {
            let name = word.trim_start_matches(':');
            name.starts_with("GUARD-") && pids.iter().any(|pid| name.ends_with(&format!("P{pid}")))
        };
        found.extend(text.lines().filter(|line| line.split(' ').any(ours)).map(str::to_owned));
    }
    found
}
