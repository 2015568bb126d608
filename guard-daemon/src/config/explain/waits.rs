//! States of hanging calls, as `guardctl waits` shows them.

use super::Topic;

pub(super) fn all() -> Vec<Topic> {
    vec![
        Topic::new(
            "wait",
            "connecting",
            "The agent has sent its SYN and the service has not answered: no connection exists yet.",
        )
        .fact("likely", "a firewall or route drops packets, the host is down, or its backlog is full")
        .fact("not", "a closed port: that is answered at once, with `refused`")
        .fact("ends as", "`connect_timeout` when `connect_timeout` is over, or the agent or the kernel gives \
              up (50s with connection hygiene, else about 2 minutes)")
        .advice(
            "Look at the path and at the service's host: nothing has reached the program itself. \
             See whether other bulkheads wait for the same address.",
        ),
        Topic::new(
            "wait",
            "first_byte",
            "The connection stands and the request was sent and acknowledged, but no byte of an \
             answer has come.",
        )
        .fact("likely", "the service works on it: reasoning models are mute for minutes")
        .fact("or", "it is overloaded, waits for a dependency of its own, or hangs")
        .fact("ends as", "`success` with the first byte; `response_timeout` where `call_timeout` is set")
        .fact("stalled", "after `stall_warn` (120s) it is reported, and left alone")
        .advice(
            "For a model, wait: silence is not death. For anything else, compare with the usual \
             time to first byte in `guardctl status`, and look at the service, not at the network: \
             its host acknowledges what the agent sends.",
        ),
        Topic::new(
            "wait",
            "paced",
            "guard itself holds the call, because calls come faster than `max_calls_per_second` allows.",
        )
        .fact("likely", "a loop, a burst, or a rate that is too low for the work")
        .fact("ends as", "a call like any other, at the latest after `pacing_max_delay` (20s); the time \
              for which it was held is not the service's")
        .advice("`guardctl status` shows the rates and how long calls are held; a reload changes them."),
        Topic::new(
            "wait",
            "quiet",
            "An answer has begun, and no byte has come for a while.",
        )
        .fact("likely", "a stream that pauses (event streams are silent for hours), or a pooled \
              connection that waits for its next request")
        .fact("or", "a stream that stalled in the middle: under TLS the two look the same")
        .fact("ends as", "whatever the agent makes of it; the call itself counts as answered")
        .advice(
            "Ask whether the agent still expects something. If it does, and the service's own \
             streams send pings more often than this, the stream has stalled: restart the call.",
        ),
        Topic::new(
            "wait",
            "unacknowledged",
            "The agent has sent data that the peer's host does not acknowledge; the kernel sends it \
             again and again. This is the proof of death that silence is not.",
        )
        .fact("likely", "the path is gone: the network changed, a NAT forgot the connection, the \
              host was switched off or suspended")
        .fact("ends as", "`stale_connection` or `response_timeout` when the kernel gives up: after \
              `hygiene.user_timeout` (50s); up to 15 minutes where hygiene is off")
        .advice(
            "Nothing will come on this connection: restart the call, so that the agent connects \
             anew. If new connects to the same service work, only this path was lost.",
        ),
        Topic::new(
            "wait",
            "peer_closed",
            "The peer has closed its side (FIN), and the agent has not closed its own.",
        )
        .fact("likely", "an agent that keeps a dead connection in its pool, or does not read")
        .fact("ends as", "`stale_connection`: after `hygiene.peer_closed` (15s; 30s if a call waits on it), or \
              when the agent uses it again")
        .fact("left alone", "while the agent sends, or has more than 1 KiB to read")
        .advice(
            "No answer can come any more: restart the call. Many of these on one agent mean a \
             pool without a check; a shorter idle time in the client helps.",
        ),
        Topic::new(
            "wait",
            "stalled",
            "A call has been without an answer for longer than `stall_warn`. It is a report; guard \
             ends nothing for it.",
        )
        .fact("shown by", "`guardctl waits`, an event `call_stalled`, guard_stalled_calls_total")
        .fact("ends as", "whatever the call ends as: `success` when its answer comes")
        .advice("See `guardctl explain first_byte`: silence is not death."),
        Topic::new(
            "cause",
            "stale_connections",
            "Why connections were found dead: the causes of guard_stale_connections_total. None of \
             them counts against the service.",
        )
        .fact("keepalive", "idle, and the peer did not answer the kernel's questions")
        .fact("unacknowledged", "a call was sent on it, and nobody acknowledged that")
        .fact("reused", "the peer had closed or forgotten it when the agent used it again")
        .fact("peer_closed", "the peer had closed it, and the agent kept it: ended by guard")
        .fact("suspend", "idle since before the host was suspended: ended by guard")
        .fact("link_change", "idle since before its address or link was lost: ended by guard")
        .advice("Settings: `guardctl explain defaults.hygiene`. Many of `reused` on one service mean that it \
                 closes idle connections sooner than its clients think."),
    ]
}
