//! Whether the guardd that made a chain still runs. Asks the kernel who listens, not a file that a
//! dead process could have left.

use super::{CHAIN_PREFIX, PROBE};

/// The queues of this network namespace that have a listener, one line each, the number first.
const QUEUES: &str = "/proc/thread-self/net/netfilter/nfnetlink_queue";

/// Whether a running process owns `GUARD-D<queue>` (it listens on the queue) or
/// `GUARD-DPROBE<pid>` (it is the process). A name of another form has no owner.
pub(super) fn lives(chain: &str) -> bool {
    let Some(rest) = chain.strip_prefix(CHAIN_PREFIX) else { return false };
    if let Some(pid) = rest.strip_prefix(PROBE) {
        let running = |pid: u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
        return pid.parse().is_ok_and(running);
    }
    let Ok(queue) = rest.parse::<u16>() else { return false };
    match std::fs::read_to_string(QUEUES) {
        Ok(text) => has_listener(&text, queue),
        // Without the file the kernel has no queues, and nobody listens.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => {
            tracing::warn!(path = QUEUES, %error, chain, "left alone: its owner may run");
            true
        }
    }
}

fn has_listener(text: &str, queue: u16) -> bool {
    let number = |line: &str| line.split_whitespace().next()?.parse::<u16>().ok();
    text.lines().any(|line| number(line) == Some(queue))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_as_the_kernel_prints_them() {
        let text =
            "    3  11846     0 2    64     0     0        0  1\n26400 3194880384 0 2 64 0 0 0 1\n";
        assert!(has_listener(text, 3) && has_listener(text, 26_400));
        assert!(!has_listener(text, 64) && !has_listener(text, 0) && !has_listener("", 3));
    }

    #[test]
    fn a_probe_lives_as_long_as_its_process() {
        assert!(lives(&format!("GUARD-DPROBE{}", std::process::id())));
        assert!(!lives("GUARD-DPROBE4294967295") && !lives("GUARD-DMZ"));
    }
}
