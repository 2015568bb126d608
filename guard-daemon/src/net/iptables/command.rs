//! Running `iptables` and `ip6tables`, and reading what `-S` prints. No shell, no parsing of
//! human text beyond that.

use std::io;
use std::process::{Command, Output, Stdio};

use super::{IptablesError, TABLE};
use crate::journal::Family;

/// How long to wait for the lock that the legacy flavour takes, seconds. The nftables flavour
/// takes none and ignores it.
const LOCK_WAIT_SECONDS: &str = "5";
/// Where the commands live, for a daemon started with a bare PATH.
const SEARCH_PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin";

/// The tables of one address family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables(pub(super) Family);

impl Tables {
    /// The command of this family.
    pub(super) fn command(self) -> &'static str {
        match self.0 {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        }
    }

    /// Runs a change of table `mangle`.
    pub(super) fn run(self, arguments: &[&str]) -> Result<(), IptablesError> {
        let output = self.output(TABLE, arguments)?;
        if output.status.success() { Ok(()) } else { Err(self.failure(arguments, &output)) }
    }

    /// The rules of table `mangle` (or of one built-in chain of it), one list of words each.
    pub(super) fn list(self, chain: Option<&str>) -> Result<Vec<Vec<String>>, IptablesError> {
        let mut arguments = vec!["-S"];
        arguments.extend(chain);
        let output = self.output(TABLE, &arguments)?;
        if !output.status.success() {
            return Err(self.failure(&arguments, &output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(words).collect())
    }

    fn output(self, table: &str, arguments: &[&str]) -> Result<Output, IptablesError> {
        let command = self.command();
        Command::new(command)
            .args(["-w", LOCK_WAIT_SECONDS, "-t", table])
            .args(arguments)
            .env("PATH", SEARCH_PATH)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => IptablesError::Missing { command },
                _ => IptablesError::NotRun { command, source },
            })
    }

    fn failure(self, arguments: &[&str], output: &Output) -> IptablesError {
        let stderr = String::from_utf8_lossy(&output.stderr);
        // Besides the reason it prints "Try `iptables -h' …" and notes on the other flavour.
        let noise = |line: &&str| line.starts_with("Try ") || line.starts_with('#');
        let message: Vec<_> = stderr.lines().map(str::trim).filter(|l| !noise(l)).collect();
        IptablesError::Failed {
            command: format!("{} -t {TABLE} {}", self.command(), arguments.join(" ")),
            status: output.status,
            message: message.join("; "),
            cure: cure(arguments, &stderr).to_owned(),
        }
    }
}

/// What helps against the failures that are known.
fn cure(arguments: &[&str], stderr: &str) -> &'static str {
    let has = |word: &str| arguments.contains(&word);
    if stderr.contains("Permission denied") || stderr.contains("must be root") {
        "run as root or with CAP_NET_ADMIN"
    } else if stderr.contains("xtables lock") {
        "another program holds the xtables lock; try again"
    } else if stderr.contains("bpf object") {
        "the gate must be a pinned socket-filter program on a mounted bpffs"
    } else if has("cgroup") {
        "the cgroup must exist below the cgroup2 root, and the kernel needs the module xt_cgroup"
    } else if has("bpf") {
        "the kernel needs the modules xt_bpf and xt_NFQUEUE"
    } else if has("NFQUEUE") {
        "the kernel needs the modules xt_NFQUEUE and nfnetlink_queue"
    } else {
        "the kernel needs table mangle (modules iptable_mangle and ip6table_mangle, or nf_tables)"
    }
}

/// Splits a line of `iptables -S`: words apart by blanks, quoted where they contain one, with
/// backslashes before quotes and backslashes.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut started) = (false, false);
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => {
                quoted = !quoted;
                started = true;
            }
            '\\' if quoted => word.extend(characters.next()),
            c if c.is_whitespace() && !quoted => {
                if started {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            c => {
                word.push(c);
                started = true;
            }
        }
    }
    if started {
        words.push(word);
    }
    words
}
