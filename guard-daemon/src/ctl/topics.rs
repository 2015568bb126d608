//! Words of `guardctl`'s own answers that `explain` knows besides configuration keys: outcomes,
//! states of waits, exit codes.

/// Words with their meaning.
const TOPICS: [(&str, &str); 20] = [
    (
        "exit-codes",
        "\
0    done
1    the answer is no: a check failed, a dry run shows changes, a fault was ended early
2    bad usage or input, or no permission
3    cleanup incomplete: what is left is named
4    no daemon answers
5    inconclusive: the fault touched no traffic, which proves nothing
exec: the command's own code; 125 guard failed, 126 the command cannot run, 127 not found",
    ),
    ("success", "Outcome: the first byte of an answer arrived."),
    (
        "refused",
        "Outcome, a failure: the peer answered the connect with a reset. Nobody listens there.",
    ),
    ("unreachable", "Outcome, a failure: no route to the peer, or an ICMP message said so."),
    ("connect_timeout", "Outcome, a failure: the connect was never answered."),
    ("reset", "Outcome, a failure: a fresh connection broke before any answer."),
    (
        "response_timeout",
        "Outcome, a failure: no answer within call_timeout; counted while the call still hangs.",
    ),
    ("server_error", "Outcome, a failure: HTTP 5xx."),
    ("throttled", "Outcome: HTTP 429. Lowers the success rate, but is not a consecutive failure."),
    ("client_error", "Outcome: another HTTP 4xx. Never counts against the service."),
    (
        "stale_connection",
        "Outcome: a pooled connection was found dead when used again. Never counts against the service.",
    ),
    ("dns_failure", "Outcome: the name did not resolve. Never counts against the service."),
    ("tls_alert", "Outcome: a TLS alert ended the handshake. Never counts against the service."),
    ("rejected", "Outcome: refused by guard itself (a limit or a breaker), not by a fault."),
    ("aborted", "Outcome: given up by the agent. Never counts against the service."),
    ("connecting", "State of a wait: connect() was called and the peer has not answered yet."),
    (
        "first_byte",
        "State of a wait: the request is out and the first byte of the answer is not in. A model that thinks looks like this, too.",
    ),
    (
        "quiet",
        "State of a wait: an answer has begun and then paused. Event streams pause for long; it is not a failure in itself.",
    ),
    (
        "unacknowledged",
        "State of a wait: the peer's TCP does not acknowledge what was sent. The path or the peer's host is gone, not just its process.",
    ),
    (
        "peer_closed",
        "State of a wait: the peer has closed the connection and the agent still holds it; its next use fails.",
    ),
];

/// What the word means; `None` if it is not one of these.
pub(super) fn explain(topic: &str) -> Option<String> {
    let (name, text) = TOPICS.iter().find(|(name, _)| *name == topic)?;
    Some(format!("{name}\n{text}"))
}

/// What might have been meant.
pub(super) fn suggestion(topic: &str) -> String {
    let near = |name: &str| strsim::jaro_winkler(&topic.to_lowercase(), name);
    let best = TOPICS.iter().max_by(|(a, _), (b, _)| near(a).total_cmp(&near(b)));
    match best {
        Some((name, _)) if near(name) > 0.8 => format!("did you mean {name:?}?"),
        _ => "name a configuration key (daemon.fault_lease), a class, a state, an outcome, or exit-codes".into(),
    }
}

#[cfg(test)]
mod tests {
    use guard_common::abi::outcome::Outcome;

    use super::*;

    #[test]
    fn every_outcome_is_explained() {
        for outcome in Outcome::ALL {
            let text = explain(outcome.name()).unwrap();
            assert_eq!(text.contains("a failure"), outcome.is_failure(), "{text}");
        }
        assert!(explain("no-such-thing").is_none());
    }

    #[test]
    fn near_words_are_suggested() {
        assert_eq!(suggestion("respons_timeout"), "did you mean \"response_timeout\"?");
        assert!(suggestion("zzz").contains("configuration key"));
    }
}
