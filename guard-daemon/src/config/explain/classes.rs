//! Service classes: what kind of peer each is, and its preset.

use std::time::Duration;

use super::Topic;
use crate::config::text::duration;
use crate::plan::{BreakerMode, BreakerPlan, OpenAction, ServiceClass};

struct Class {
    name: &'static str,
    summary: &'static str,
    kind: ServiceClass,
    why: &'static str,
}

const CLASSES: [Class; 5] = [
    Class {
        name: "generic",
        summary: "Any peer that no other class describes. Nothing about it is assumed.",
        kind: ServiceClass::Generic,
        why: "A connection may be silent by design (event streams, long polls, browsers), so \
              silence alone ends nothing.",
    },
    Class {
        name: "llm",
        summary: "A remote LLM API. Reasoning models are mute for minutes, and good streams have \
                  run for 20 minutes.",
        kind: ServiceClass::Llm,
        why: "The limit is above the timers of the usual clients: guard acts where the client has \
              none.",
    },
    Class {
        name: "llm_local",
        summary: "An inference server on this host or in this network. It sends nothing while it \
                  loads a model or buffers a tool call.",
        kind: ServiceClass::LlmLocal,
        why: "There is one server, and refusing calls to it helps nobody. A busy GPU is not a hang.",
    },
    Class {
        name: "mcp",
        summary: "An MCP server over HTTP. Its event stream may be silent for ever, and a call may \
                  wait for a person.",
        kind: ServiceClass::Mcp,
        why: "Many clients count attempts and then drop the tools for the whole session, so connects \
              are held. Ending a call can repeat its side effect, so guard ends none of its own accord.",
    },
    Class {
        name: "tool",
        summary: "A peer of a tool: git, a package registry, the web.",
        kind: ServiceClass::Tool,
        why: "Tools retry badly and fail cheaply: a fast error is the best answer. Ending a call \
              can repeat its side effect, so no call is ended before its timeout.",
    },
];

pub(super) fn all() -> Vec<Topic> {
    CLASSES.iter().map(topic).collect()
}

fn or_none(timeout: Option<Duration>) -> String {
    timeout.map_or_else(|| "none".to_owned(), duration::format)
}

/// The class's own breaker, from the values that are in force.
fn breaker(plan: &BreakerPlan) -> String {
    if plan.mode == BreakerMode::Off {
        return "off".to_owned();
    }
    let rate = if plan.success_rate_below > 0.0 {
        format!(
            ", or when fewer than {:.0} % of at least {} calls in {} succeed",
            plan.success_rate_below * 100.0,
            plan.min_calls,
            duration::format(plan.window)
        )
    } else {
        String::new()
    };
    let growing = if plan.backoff > 1.0 {
        let most = duration::format(plan.max_open_timeout);
        format!(", times {} up to {most}, +-{:.0} %", plan.backoff, plan.jitter * 100.0)
    } else {
        String::new()
    };
    let action = match plan.open_action {
        OpenAction::Refuse => "calls are refused at once".to_owned(),
        OpenAction::Hold => {
            format!("connects are held, up to {} each", duration::format(plan.hold_max))
        }
    };
    format!(
        "opens after {} failures in a row{rate}; open {}{growing}; a call given up after {} counts as \
         a failure; {action}",
        plan.failure_threshold,
        duration::format(plan.open_timeout),
        duration::format(plan.abandoned_after),
    )
}

fn topic(class: &Class) -> Topic {
    let mut topic = Topic::new("class", class.name, class.summary)
        .fact("connect_timeout", or_none(class.kind.connect_timeout()))
        .fact("call_timeout", or_none(class.kind.call_timeout()))
        .fact("silence", "reported after 120s (stall_warn); ended by call_timeout alone")
        .fact("breaker", breaker(&class.kind.breaker()))
        .fact("why", class.why);
    topic.example = format!(
        "[services.NAME]\nendpoints = [\"api.example.com:443\"]\nclass = \"{}\"",
        class.name
    );
    topic
}
