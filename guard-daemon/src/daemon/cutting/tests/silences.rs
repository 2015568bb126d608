//! Silences that are healthy, as people who run agents have seen them (docs/guide/hygiene.md): with
//! default settings none of them ends a connection, and those that are long are reported.

use super::*;
use crate::plan::{Plan, ServiceClass};

/// What is silent.
#[derive(Clone, Copy, Debug)]
enum Silence {
    /// A call before its first byte: the peer acknowledges, and says nothing.
    Call,
    /// An answer that has begun, or a stream, or a connection that waits for its next use.
    Quiet,
}
use Silence::{Call, Quiet};

const YEAR: u64 = 365 * 24 * 3600;

/// Who, what, for how long (s).
const HEALTHY: [(&str, ServiceClass, Silence, u64); 20] = [
    ("a reasoning model before its first event", ServiceClass::Llm, Call, 32),
    ("a model at its greatest effort", ServiceClass::Llm, Call, 92),
    ("a model that thinks", ServiceClass::Llm, Call, 121),
    ("a turn of an agent", ServiceClass::Llm, Call, 305),
    ("a turn at extra-high effort", ServiceClass::Llm, Call, 319),
    ("a long silence without text, pings flowing", ServiceClass::Llm, Quiet, 510),
    ("an answer that does not stream", ServiceClass::Llm, Call, 606),
    ("a stream that was good to its end", ServiceClass::Llm, Quiet, 1_198),
    ("a gap between events of a stream", ServiceClass::Llm, Quiet, 138),
    ("a local server that buffers a tool call", ServiceClass::LlmLocal, Call, 120),
    ("a local server that loads a model", ServiceClass::LlmLocal, Call, 600),
    ("a tool that waits for a person", ServiceClass::Mcp, Call, 24 * 3600),
    ("a build or a test run", ServiceClass::Mcp, Call, 4 * 3600),
    ("an MCP server's event stream", ServiceClass::Mcp, Quiet, YEAR),
    ("a WebSocket with pings only", ServiceClass::Generic, Quiet, YEAR),
    ("a long poll", ServiceClass::Generic, Call, 3600),
    ("a browser under control", ServiceClass::Generic, Quiet, YEAR),
    ("a chat gateway", ServiceClass::Generic, Call, YEAR),
    ("a large clone that the server prepares", ServiceClass::Tool, Call, 1_500),
    ("an unknown service", ServiceClass::Generic, Call, YEAR),
];

fn plan(class: ServiceClass) -> Plan {
    let text = format!(
        "[services.api]\nendpoints = [\"198.51.100.2:443\"]\nclass = \"{class}\"\n[bulkheads.a]"
    );
    config::parse("guard.toml", &text).unwrap_or_else(|e| panic!("{}", e.render(false))).plan
}

/// The limits that the plan leads to, as `State::cut_rules` makes them.
fn rules_of(plan: &Plan) -> CutRules {
    CutRules::new(HashMap::from([(PAIR, limits_of(plan, "a", "api", None))]))
}

#[test]
fn no_healthy_silence_is_ended() {
    for (who, class, silence, seconds) in HEALTHY {
        let rules = rules_of(&plan(class));
        // Every second of it would do; the ends of the limits are what matters.
        let moments = [1, 14, 15, 16, 29, 30, 31, 59, 60, 61, 119, 120, 121, 300, 600, 900, 3_600];
        for passed in moments.into_iter().filter(|at| *at < seconds).chain([seconds]) {
            let start_ns = match silence {
                Call => NOW.wrapping_sub(passed * SECOND),
                Quiet => 0,
            };
            let of = Remembered { answer_ns: 1, exchanges: 1, ..remembered(start_ns) };
            let silent = idle(u32::try_from(passed).unwrap().min(4_000_000));
            // The peer's host answers the kernel's questions.
            let silent = TcpInfo { last_ack_received_ms: 30_000, ..silent };
            let now_ns = NOW.max(passed * SECOND);
            let of = match silence {
                Call => Remembered { exchange_start_ns: now_ns - passed * SECOND + 1, ..of },
                Quiet => of,
            };
            let open = socket(SocketState::Established, silent);
            let judged = rules.judge(&open, &of, now_ns, None);
            assert_eq!(judged.cause, None, "{who}: {silence:?} for {passed} s");
            let reported = matches!(silence, Call) && passed > 120;
            assert_eq!(judged.stalled, reported, "{who}: {silence:?} for {passed} s");
        }
    }
}
