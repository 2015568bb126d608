//! Finding and removing our chains, whoever made them: this process or a dead one. It removes
//! only chains with names that guard gives (see `is_ours`) and the jumps to them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::command::Tables;
use super::{CHAIN_PREFIX, HOOK, IptablesError, PID, PROBE, TABLE, owner};
use crate::journal::Family;

/// Further tries to remove a chain, and the pause before each.
const RETRIES: u32 = 3;
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// What is in table `mangle` of either family with a name of ours, as `iptables: GUARD-D0`.
/// Empty where iptables is missing: then there is nothing.
pub fn list_leftovers() -> Vec<String> {
    let mut found = Vec::new();
    for family in [Family::V4, Family::V6] {
        let command = Tables(family).command();
        found.extend(our_chains(family).into_iter().map(|chain| format!("{command}: {chain}")));
    }
    found
}

/// Queue numbers that chains with a name of ours name, whoever made them and whether they live.
pub fn queues_of_chains() -> BTreeSet<u16> {
    let chains = [Family::V4, Family::V6].into_iter().flat_map(our_chains);
    chains.filter_map(|chain| owner::queue(&chain)).collect()
}

/// Removes all that [`list_leftovers`] lists and that no guardd that runs owns; goes on after an
/// error and returns the first.
pub fn remove_leftovers() -> Result<Vec<String>, IptablesError> {
    let mut removed = Vec::new();
    let mut first_error = None;
    for family in [Family::V4, Family::V6] {
        for chain in our_chains(family) {
            if owner::may_live(&chain) {
                tracing::info!(chain, "a chain of a guardd that may run: left alone");
                continue;
            }
            match remove_chain(family, TABLE, HOOK, &chain) {
                Ok(_) => removed.push(format!("{}: {chain}", Tables(family).command())),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
    }
    first_error.map_or(Ok(removed), Err)
}

/// `remove_chain` for a chain that an undo log names, unless a guardd that runs owns the name
/// now.
pub fn remove_dead_chain(
    family: Family,
    table: &str,
    hook: &str,
    chain: &str,
) -> Result<bool, IptablesError> {
    if owner::lives(chain) {
        tracing::info!(chain, "a chain of a guardd that runs: left alone");
        return Ok(false);
    }
    remove_chain(family, table, hook, chain)
}

/// Removes the jumps from `hook` to one of our chains, then the chain. Returns whether there was
/// anything. A chain of another name, table or hook than ours is left alone (and logged).
pub(super) fn remove_chain(
    family: Family,
    table: &str,
    hook: &str,
    chain: &str,
) -> Result<bool, IptablesError> {
    if table != TABLE || hook != HOOK || !is_ours(chain) {
        tracing::warn!(table, hook, chain, "not a chain that guard makes: left alone");
        return Ok(false);
    }
    let tables = Tables(family);
    let mut failed = 0;
    loop {
        let rules = match tables.list(None) {
            Ok(rules) => rules,
            Err(IptablesError::Missing { .. }) => return Ok(false),
            // A kernel that cannot list the table of this family has nothing of ours in it.
            Err(error @ IptablesError::Failed { .. }) if family == Family::V6 => {
                tracing::debug!(%error, "no IPv6 tables");
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        match remove_listed(tables, &rules, hook, chain) {
            // Somebody else may remove it at the same time: a cleanup meets a guardd that ends a
            // fault. Whoever comes second finds nothing the next time.
            Err(error) if failed < RETRIES => {
                tracing::debug!(%error, chain, "tried again");
                failed += 1;
                std::thread::sleep(RETRY_AFTER);
            }
            done => return done.map(|found| found || failed > 0),
        }
    }
}

fn remove_listed(
    tables: Tables,
    rules: &[Vec<String>],
    hook: &str,
    chain: &str,
) -> Result<bool, IptablesError> {
    let mut found = false;
    for rule in rules {
        let jumps_from_hook = rule.first().is_some_and(|w| w == "-A")
            && rule.get(1).is_some_and(|w| w == hook)
            && rule.windows(2).any(|pair| pair[0] == "-j" && pair[1] == chain);
        if jumps_from_hook {
            // By its text, never by its number.
            let mut arguments = vec!["-D"];
            arguments.extend(rule[1..].iter().map(String::as_str));
            tables.run(&arguments)?;
            found = true;
        }
    }
    if rules.iter().any(|rule| matches!(&rule[..], [n, name] if n == "-N" && name == chain)) {
        tables.run(&["-F", chain])?;
        tables.run(&["-X", chain])?;
        found = true;
    }
    Ok(found)
}

/// Names of our chains in one family; none if they cannot be listed.
fn our_chains(family: Family) -> Vec<String> {
    let rules = match Tables(family).list(None) {
        Ok(rules) => rules,
        Err(error) => {
            tracing::debug!(%error, "no chains to look through");
            return Vec::new();
        }
    };
    let names = rules.into_iter().filter_map(|rule| match <[String; 2]>::try_from(rule) {
        Ok([new, name]) if new == "-N" && is_ours(&name) => Some(name),
        _ => None,
    });
    names.collect()
}

/// `GUARD-D<queue>P<pid>`, `GUARD-D<number>` (of earlier versions) or `GUARD-DPROBE<pid>`: strict,
/// for somebody may have a GUARD-DMZ.
fn is_ours(chain: &str) -> bool {
    let Some(rest) = chain.strip_prefix(CHAIN_PREFIX) else { return false };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match rest.strip_prefix(PROBE) {
        Some(pid) => number(pid),
        None => match rest.split_once(PID) {
            Some((queue, pid)) => number(queue) && number(pid),
            None => number(rest),
        },
    }
}
