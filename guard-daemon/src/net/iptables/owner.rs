//! Whether the guardd that made a chain still runs. Asks the kernel who listens and who lives, not
//! a file that a dead process could have left.

use super::{CHAIN_PREFIX, PID, PROBE};

/// The queues of this network namespace that have a listener, one line each, the number first.
const QUEUES: &str = "/proc/thread-self/net/netfilter/nfnetlink_queue";

/// Whether a running guardd may own the chain: its queue has a listener, or it is a probe whose
/// process lives. For a chain that may be of a guardd in another pid namespace.
pub(super) fn may_live(chain: &str) -> bool {
    let Some(rest) = chain.strip_prefix(CHAIN_PREFIX) else { return false };
    if let Some(pid) = rest.strip_prefix(PROBE) {
        return process_lives(pid);
    }
    queue(chain).is_some_and(is_listened_to)
}

/// The queue in the name of a chain; `None` if it names none.
pub(super) fn queue(chain: &str) -> Option<u16> {
    let rest = chain.strip_prefix(CHAIN_PREFIX)?;
    rest.split_once(PID).map_or(rest, |(queue, _)| queue).parse().ok()
}

/// Whether both the queue and the process of its name live. For a chain that an undo log names:
/// another guardd can have the same name only if it has the same process id (in another pid
/// namespace) and the same queue.
pub(super) fn lives(chain: &str) -> bool {
    let pid = chain.rsplit_once(PID).map(|(_, pid)| pid);
    may_live(chain) && pid.is_none_or(process_lives)
}

fn process_lives(pid: &str) -> bool {
    pid.parse::<u32>().is_ok_and(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists())
}

fn is_listened_to(queue: u16) -> bool {
    match std::fs::read_to_string(QUEUES) {
        Ok(text) => has_listener(&text, queue),
        // Without the file the kernel has no queues, and nobody listens.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => {
            tracing::warn!(path = QUEUES, %error, queue, "taken to have a listener");
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
        assert_eq!(queue("GUARD-D26416P17"), Some(26_416));
        assert_eq!(queue("GUARD-D3"), Some(3));
        assert_eq!((queue("GUARD-DPROBE17"), queue("GUARD-DMZ"), queue("X")), (None, None, None));
        assert!(!has_listener(text, 64) && !has_listener(text, 0) && !has_listener("", 3));
    }

    #[test]
    fn a_probe_lives_as_long_as_its_process() {
        let own = format!("GUARD-DPROBE{}", std::process::id());
        assert!(may_live(&own));
        assert!(!may_live("GUARD-DPROBE4294967295") && !may_live("GUARD-DMZ"));
    }
}
