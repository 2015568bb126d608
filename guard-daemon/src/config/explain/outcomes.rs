//! Outcomes of calls, as metrics, events and `guardctl status` name them.

use guard_common::abi::outcome::Outcome;

use super::Topic;

pub(super) fn all() -> Vec<Topic> {
    Outcome::ALL.iter().map(|outcome| topic(*outcome)).collect()
}

fn topic(outcome: Outcome) -> Topic {
    let (summary, advice) = words(outcome);
    let counts = if outcome.is_failure() {
        "yes: it lowers the success rate, and counts towards opening a breaker (a later version)"
    } else if outcome == Outcome::Throttled {
        "in part: it lowers the success rate, but several in a row open no breaker"
    } else if outcome == Outcome::Success {
        "no: it raises the success rate"
    } else {
        "no: it says nothing about the service"
    };
    Topic::new("outcome", outcome.name(), summary)
        .fact("counts against the service", counts)
        .advice(advice)
}

fn words(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Success => ("The first byte of an answer came.", ""),
        Outcome::Refused => (
            "The service's host answered the connect with RST: nothing listens on that port.",
            "Start the service, or correct its port.",
        ),
        Outcome::Unreachable => (
            "There is no way to the service: no route, or a router said unreachable.",
            "Look at routes, VPNs and the network interface.",
        ),
        Outcome::ConnectTimeout => (
            "The connect was never answered.",
            "Look for a firewall that drops, a host that is down, or a full backlog.",
        ),
        Outcome::Reset => (
            "A fresh connection was broken before any answer came.",
            "Look at the service's own log: it, or a proxy before it, ended the connection.",
        ),
        Outcome::ResponseTimeout => (
            "No answer came within the call's timeout; it is counted while the call still hangs.",
            "See `guardctl waits`; raise the timeout if the service is merely slow.",
        ),
        Outcome::ServerError => {
            ("The service answered with HTTP 5xx.", "Look at the service's own log.")
        }
        Outcome::Throttled => (
            "The service answered with HTTP 429: too many requests.",
            "Call less often, or raise the quota; agents that share a key share its quota.",
        ),
        Outcome::ClientError => (
            "The service answered with HTTP 4xx other than 429: the request is wrong.",
            "Look at the agent's request: key, path, permissions.",
        ),
        Outcome::StaleConnection => (
            "A connection from the agent's pool was found dead when it was used again.",
            "Nothing, if it is rare: clients connect anew. If not, shorten the client's idle time.",
        ),
        Outcome::DnsFailure => {
            ("The name of the service did not resolve.", "Look at the resolver and at the name.")
        }
        Outcome::TlsAlert => (
            "A TLS alert ended the handshake.",
            "Look at certificates, clocks, and proxies that intercept TLS.",
        ),
        Outcome::Rejected => (
            "guard itself refused the call, by a limit or a breaker; not by a fault.",
            "See `guardctl status` for which one.",
        ),
        Outcome::Aborted => (
            "The agent gave up before an answer came.",
            "Look at the agent's own timeouts; a wait before it shows in `guardctl waits`.",
        ),
    }
}
