//! Service classes: what kind of peer each is, and its preset.

use super::Topic;

const LATER: &str = "the preset takes effect with the breaker and bulkhead features still to come; \
                     in this version the class is checked and shown, nothing more";

struct Class {
    name: &'static str,
    summary: &'static str,
    connect_timeout: &'static str,
    call_timeout: &'static str,
    stall: &'static str,
    breaker: &'static str,
    why: &'static str,
}

const HOLD: &str = "opens after 5 failures in a row, or when half of at least 5 attempts in 60s \
                    fail hard; open 5s, doubling to 60s, with jitter; then connects are held, up \
                    to 4s each, because many clients count attempts and give up for good";
const FAST: &str = "opens after 5 failures in a row, or when half of at least 5 attempts in 60s \
                    fail hard; open 5s, doubling to 60s, with jitter; calls are refused at once";

const CLASSES: [Class; 5] = [
    Class {
        name: "generic",
        summary: "Any peer that no other class describes. Nothing about it is assumed.",
        connect_timeout: "none",
        call_timeout: "none",
        stall: "reported after 120s, never ended",
        breaker: "5 failures in a row; open 60s; one probe; calls are refused at once",
        why: "A connection may be silent by design (event streams, long polls, browsers), so \
              silence alone ends nothing.",
    },
    Class {
        name: "llm",
        summary: "A remote LLM API. Reasoning models are mute for minutes, and good streams have \
                  run for 20 minutes.",
        connect_timeout: "none",
        call_timeout: "3600s",
        stall: "reported after 120s; ended after 600s of silence within an answer, 900s before \
                the first byte; one socket only",
        breaker: HOLD,
        why: "Both limits are above the 300s timers of the usual clients: guard acts where the \
              client has none.",
    },
    Class {
        name: "llm_local",
        summary: "An inference server on this host or in this network. It sends nothing while it \
                  loads a model or buffers a tool call.",
        connect_timeout: "none",
        call_timeout: "7200s",
        stall: "reported after 120s; ended after 1800s",
        breaker: "off: there is one server, and refusing calls to it helps nobody",
        why: "A busy GPU is not a hang.",
    },
    Class {
        name: "mcp",
        summary: "An MCP server over HTTP. Its event stream may be silent for ever, and a call may \
                  wait for a person.",
        connect_timeout: "15s",
        call_timeout: "none",
        stall: "reported after 120s, never ended",
        breaker: "as `llm`: connects are held, up to 4s each; never in the first 30s of an agent's \
                  life, when a refusal would cost it its tools for the whole session",
        why: "Ending a call can repeat its side effect, so guard ends none of its own accord.",
    },
    Class {
        name: "tool",
        summary: "A peer of a tool: git, a package registry, the web.",
        connect_timeout: "none",
        call_timeout: "1800s",
        stall: "reported after 120s with no byte either way",
        breaker: FAST,
        why: "Tools retry badly and fail cheaply: a fast error is the best answer. Ending a call \
              can repeat its side effect, so no call is ended before its timeout.",
    },
];

pub(super) fn all() -> Vec<Topic> {
    CLASSES.iter().map(topic).collect()
}

fn topic(class: &Class) -> Topic {
    let mut topic = Topic::new("class", class.name, class.summary)
        .fact("connect_timeout", class.connect_timeout)
        .fact("call_timeout", class.call_timeout)
        .fact("silence", class.stall)
        .fact("breaker", class.breaker)
        .fact("why", class.why)
        .fact("status", LATER);
    topic.example = format!(
        "[services.NAME]\nendpoints = [\"api.example.com:443\"]\nclass = \"{}\"",
        class.name
    );
    topic
}
