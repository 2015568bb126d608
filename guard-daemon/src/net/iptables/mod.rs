//! The netfilter rules that send a bulkhead's packets to the delay engine, put up and taken down
//! with the commands `iptables` and `ip6tables`.
//!
//! Per fault and address family: a chain of our own, `GUARD-D<queue>P<pid>` in table `mangle`, with one
//! rule (gate, then NFQUEUE) behind those that let bulkheads inside this one alone, and one jump to it from OUTPUT for the bulkhead's cgroup. Both are
//! written to the undo log first. Nothing that does not bear our name is ever changed, and no
//! rule is addressed by its number (that could hit another's rule after a concurrent change).
//!
//! Several guardds may run on one host, also in containers that share its network. A queue number
//! has one listener, so whoever listens on a chain's queue owns its name: what is there already
//! was left by a dead guardd. The undo log removes a chain unless both the queue and the process
//! of its name live; without an entry in the log a living queue alone protects it. (The queue of a
//! delay engine that was killed is dead while its guardd lives. That guardd is about to remove the
//! chain itself, and it does not matter who is first.)
//!
//! Left behind with the nftables flavour of iptables: the empty base chains of table `mangle`,
//! which that command makes at first use and never removes.

use std::path::PathBuf;

use crate::journal::{Family, LogError, Ticket, Undo, UndoLog};

mod command;
mod leftovers;
mod owner;
mod probe;
#[cfg(test)]
mod tests;

use command::Tables;
use leftovers::remove_chain;
pub use leftovers::{list_leftovers, queues_of_chains, remove_dead_chain, remove_leftovers};
pub use probe::probe;

/// Beginning of the names of all our chains.
pub const CHAIN_PREFIX: &str = "GUARD-D";
/// What follows it in the name of a chain of [`probe`], before a process id.
const PROBE: &str = "PROBE";
/// Between queue number and process id in the name of a chain of a fault.
const PID: char = 'P';
/// Table of all our chains.
pub const TABLE: &str = "mangle";
/// Built-in chain from which they are jumped to: locally made packets, after routing.
pub const HOOK: &str = "OUTPUT";

/// One delay fault's rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayRule {
    /// NFQUEUE number, part of the chain's name. Start its [`crate::net::delay::DelayQueue`]
    /// first, and stop it last: that is what makes the chain ours. Without a listener packets
    /// pass (`--queue-bypass`).
    pub queue: u16,
    /// The cgroups that it is about, each absolute from the root of the cgroup2 mount (of this
    /// process's cgroup namespace): `/agents/research`. They must exist. At most 511 bytes.
    pub cgroup_paths: Vec<String>,
    /// Cgroups inside them, in the same form, whose packets are let alone: bulkheads of their own.
    pub except: Vec<String>,
    /// Pinned socket-filter program that must match too. **Remove the rule before the pin**: the
    /// legacy flavour of iptables reads it again at every change of the table, anybody's.
    pub gate: Option<PathBuf>,
}

impl DelayRule {
    /// Name of the chain.
    pub fn chain(&self) -> String {
        format!("{CHAIN_PREFIX}{}{PID}{}", self.queue, std::process::id())
    }
}

/// What [`install`] put up.
#[derive(Debug)]
pub struct Installed {
    /// What it did.
    pub rule: DelayRule,
    /// Why IPv6 packets are not delayed, if they are not.
    pub warning: Option<String>,
    tickets: Vec<(Family, Ticket)>,
}

/// A rule that could not be put up or taken down.
#[derive(Debug, thiserror::Error)]
pub enum IptablesError {
    /// The command is not there.
    #[error(
        "`{command}` is not installed, so packets cannot be handed to the delay engine; install \
         the Debian package iptables"
    )]
    Missing {
        /// Command.
        command: &'static str,
    },
    /// It could not be run.
    #[error("`{command}` cannot be run: {source}")]
    NotRun {
        /// Command.
        command: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It failed.
    #[error("`{command}` failed ({status}): {message}; {cure}")]
    Failed {
        /// The whole command line.
        command: String,
        /// Exit status.
        status: std::process::ExitStatus,
        /// What it printed.
        message: String,
        /// What to do.
        cure: String,
    },
    /// The gate is not there.
    #[error(
        "delay gate {}: {source}; the pinned program must exist on a bpffs before the rule that \
         names it", path.display()
    )]
    Gate {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The undo log did not take the intention, so nothing was made.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Puts the rule up for IPv4 and, where the host can, IPv6. On an error nothing is left.
pub fn install(rule: &DelayRule, log: &mut UndoLog) -> Result<Installed, IptablesError> {
    if let Some(path) = &rule.gate
        && let Err(source) = std::fs::metadata(path)
    {
        return Err(IptablesError::Gate { path: path.clone(), source });
    }
    let mut installed = Installed { rule: rule.clone(), warning: None, tickets: Vec::new() };
    for family in [Family::V4, Family::V6] {
        let tables = Tables(family);
        // Asked before anything is made: a host without IPv6 is a warning, not an error.
        if family == Family::V6
            && let Err(error) = tables.list(None)
        {
            let warning = format!("IPv6 packets are not delayed: {error}");
            tracing::warn!(queue = rule.queue, "{warning}");
            installed.warning = Some(warning);
            continue;
        }
        if let Err(error) = install_family(tables, rule, log, &mut installed.tickets) {
            if let Err(undo) = remove(installed, log) {
                tracing::error!(%undo, "a half-made delay rule is left; run guardctl cleanup");
            }
            return Err(error);
        }
    }
    Ok(installed)
}

fn install_family(
    tables: Tables,
    rule: &DelayRule,
    log: &mut UndoLog,
    tickets: &mut Vec<(Family, Ticket)>,
) -> Result<(), IptablesError> {
    let chain = rule.chain();
    let ticket = log.intend(Undo::IptablesChain {
        family: tables.0,
        table: TABLE.to_owned(),
        chain: chain.clone(),
        hook: HOOK.to_owned(),
    })?;
    // Of a dead guardd that had this queue before us.
    let made = remove_chain(tables.0, TABLE, HOOK, &chain)
        .and_then(|_removed| tables.run(&["-N", &chain]));
    if let Err(error) = made {
        log.done(ticket)?;
        return Err(error);
    }
    tickets.push((tables.0, ticket));
    for inner in &rule.except {
        tables.run(&["-A", &chain, "-m", "cgroup", "--path", inner, "-j", "RETURN"])?;
    }
    let queue = rule.queue.to_string();
    let gate = rule.gate.as_ref().map(|path| path.to_string_lossy());
    let mut arguments = vec!["-A", &chain];
    if let Some(gate) = &gate {
        arguments.extend(["-m", "bpf", "--object-pinned", gate]);
    }
    arguments.extend(["-j", "NFQUEUE", "--queue-num", &queue, "--queue-bypass"]);
    tables.run(&arguments)?;
    // Last, so that no packet sees a half-made chain.
    let jump =
        |path: &String| tables.run(&["-A", HOOK, "-m", "cgroup", "--path", path, "-j", &chain]);
    rule.cgroup_paths.iter().try_for_each(jump)
}

/// Takes down what [`install`] put up. What was taken down by somebody else is no error. On an
/// error the undo log keeps the entry, so that a cleanup can try again.
pub fn remove(installed: Installed, log: &mut UndoLog) -> Result<(), IptablesError> {
    let chain = installed.rule.chain();
    let mut first_error = None;
    for (family, ticket) in installed.tickets {
        let outcome = remove_chain(family, TABLE, HOOK, &chain)
            .and_then(|_removed| log.done(ticket).map_err(IptablesError::from));
        if let Err(error) = outcome {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}
