//! Whether this host can delay packets with NFQUEUE: tried out in a chain that no packet ever
//! reaches, and that is removed again.

use super::command::Tables;
use super::leftovers::remove_chain;
use super::{CHAIN_PREFIX, HOOK, PROBE, TABLE};
use crate::journal::Family;
use crate::net::delay;

/// Classic BPF for "match nothing": what `-m bpf` needs as a stand-in for the gate.
const MATCH_NOTHING: &str = "1,6 0 0 0";

/// Says what is missing for delay faults with NFQUEUE and how to cure it. Leaves nothing. Needs
/// root. A host with IPv4 alone passes.
pub fn probe() -> Result<(), String> {
    delay::kernel_support().map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => {
            "NFQUEUE cannot be tried: not allowed; run as root or with CAP_NET_ADMIN".to_owned()
        }
        _ => format!(
            "the kernel cannot queue packets to user space: {error}; load the kernel module \
             nfnetlink_queue, or use a kernel with CONFIG_NETFILTER_NETLINK_QUEUE"
        ),
    })?;
    let tables = Tables(Family::V4);
    // Begins like all our chains, so that a probe that is killed is cleaned up like them.
    let chain = format!("{CHAIN_PREFIX}{PROBE}{}", std::process::id());
    let tried = try_rules(tables, &chain);
    let removed = remove_chain(Family::V4, TABLE, HOOK, &chain);
    tried?;
    removed.map(|_found| ()).map_err(|error| format!("the probe's own chain stays: {error}"))
}

fn try_rules(tables: Tables, chain: &str) -> Result<(), String> {
    let run = |arguments: &[&str]| tables.run(arguments).map_err(|error| error.to_string());
    run(&["-N", chain])?;
    run(&["-A", chain, "-j", "NFQUEUE", "--queue-num", "0", "--queue-bypass"])?;
    run(&["-A", chain, "-m", "cgroup", "--path", "/", "-j", "RETURN"])?;
    run(&["-A", chain, "-m", "bpf", "--bytecode", MATCH_NOTHING, "-j", "RETURN"])
}
