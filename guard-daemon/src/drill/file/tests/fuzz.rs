//! No text makes the reader panic, what it says points into the text, and what it accepts is a drill
//! that guardd would accept.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::drill::spec::{Condition, Probe, Query};
use crate::fault::FaultSpec;
use crate::plan::{OTHER, Plan};

const MANY: &str = include_str!("many.toml");
const FULL: &str = r#"
name = "all-keys"
purpose = "every key once"
before = "5s"
duration = "60s"
after = "15s"
seed = 42
[[fault]]
bulkhead = "research"
service = "github"
start = "10s"
duration = "30s"
latency = { delay = "300ms", jitter = "50ms", distribution = "normal" }
loss = { percent = 5, burst = 4 }
refuse = { percent = 100, errno = "ECONNREFUSED" }
pulse = { on = "1s", off = "10ms" }
[[fault]]
bulkhead = "research"
unsafe = true
start = "45s"
blackhole = true
[[steady_state]]
name = "rate"
when = ["before", "during"]
bulkhead = "writing"
service = "github"
success_rate_at_least = 0.95
min_calls = 3
[[steady_state]]
bulkhead = "writing"
latency_at_most = "2s"
quantile = 0.99
[[steady_state]]
when = ["during"]
bulkhead = "research"
service = "github"
breaker = "open"
[[steady_state]]
http = "http://127.0.0.1:8080/"
status = 204
timeout = "1s"
[[steady_state]]
command = ["/bin/true", "x"]
exit_code = 0
[[abort]]
bulkhead = "writing"
service = "github"
success_rate_below = 0.5
for = "10s"
min_calls = 5
[[steady_state]]
prometheus = "http://127.0.0.1:9090"
promql = "sum(up{job='a'})"
at_least = 1
at_most = 2.5
[[abort]]
promql = "up"
below = 1
above = 9
timeout = "1s"
"#;

fn check(text: &str) {
    let diagnostics = match parse("fuzz.toml", text) {
        Ok(loaded) => {
            sound(&loaded.drill);
            loaded.warnings
        }
        Err(errors) => {
            assert!(errors.error_count() > 0, "refused without an error: {text:?}");
            errors.diagnostics
        }
    };
    for d in &diagnostics {
        for span in d.span.iter().chain(d.related.iter().map(|r| &r.span)) {
            assert!(text.get(span.clone()).is_some(), "{d} {span:?}");
        }
        assert!(!d.message.is_empty() && !d.to_string().contains(char::is_control), "{d:?}");
    }
    is_drill(text);
}

/// What every drill must be, whatever its file says.
fn sound(drill: &Drill) {
    assert!(!drill.faults.is_empty() && !drill.steady_state.is_empty());
    assert!((1..=86_400).contains(&drill.duration.as_secs()));
    assert!(drill.before <= Duration::from_hours(1) && drill.after <= Duration::from_hours(1));
    assert!(drill.seed.is_none_or(|seed| i64::try_from(seed).is_ok()));
    let plan = plan(drill);
    for fault in &drill.faults {
        let spec = FaultSpec::check(fault, &plan, || 1).unwrap();
        // Both come from the same milliseconds, through seconds with a fraction.
        assert!(spec.start_after < drill.duration, "{fault:?}");
        assert!(spec.start_after + spec.duration <= drill.duration + Duration::from_micros(1));
    }
    for abort in &drill.abort {
        match &abort.condition {
            Condition::SuccessRate { success_rate_below, min_calls, .. } => {
                assert!((0.001..=1.0).contains(success_rate_below) && *min_calls > 0);
            }
            Condition::Promql { query, below, above } => bounded(query, *below, *above),
        }
        assert!(abort.window >= Duration::from_secs(1));
    }
    let mut names: Vec<&str> = drill.steady_state.iter().map(|s| s.name.as_str()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]) && !names.contains(&""));
    for state in &drill.steady_state {
        assert!(!state.when.is_empty() && state.when.is_sorted());
        match &state.probe {
            Probe::SuccessRate { at_least, min_calls, .. } => {
                assert!((0.0..=1.0).contains(at_least) && *min_calls > 0);
            }
            Probe::Latency { quantile, .. } => assert!(*quantile > 0.0 && *quantile < 1.0),
            Probe::Breaker { state, .. } => {
                assert!(["closed", "open", "half_open"].contains(&state.as_str()));
            }
            Probe::Http { url, status, .. } => {
                assert!(url.starts_with("http://") && (100..600).contains(status));
            }
            Probe::Promql { query, at_least, at_most } => bounded(query, *at_least, *at_most),
            Probe::Command { argv, exit_code, timeout } => {
                assert!(argv[0].starts_with('/') && (0..256).contains(exit_code));
                assert!(*timeout <= Duration::from_mins(1));
            }
        }
    }
}

fn bounded(query: &Query, low: Option<f64>, high: Option<f64>) {
    assert!(query.prometheus.starts_with("http://") && !query.prometheus.contains('?'));
    assert!(!query.promql.is_empty() && !query.promql.contains(char::is_control));
    assert!(low.or(high).is_some_and(f64::is_finite));
    assert!(low.zip(high).is_none_or(|(low, high)| low <= high));
}

/// A configuration with everything that a drill names.
fn plan(drill: &Drill) -> Plan {
    let bulkheads: BTreeSet<&str> = drill.faults.iter().map(|f| f.bulkhead.as_str()).collect();
    let services: BTreeSet<&str> =
        drill.faults.iter().filter_map(|f| f.service.as_deref()).filter(|s| *s != OTHER).collect();
    let bulkheads = bulkheads.iter().map(|name| format!("[bulkheads.{name}]\n"));
    let services = services
        .iter()
        .enumerate()
        .map(|(n, name)| format!("[services.{name}]\nendpoints = [\"192.0.2.{n}\"]\n"));
    let text: String = bulkheads.chain(services).collect();
    config::parse("guard.toml", &text).unwrap_or_else(|e| panic!("{e}\n{text}")).plan
}

fn pieces() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<char>().prop_map(String::from),
        "[\\[\\]{}=.,#\"'\n\r\t \\\\]{1,3}",
        "[0-9]{1,3}",
        "[a-z_]{1,6} = [0-9a-z\"]{1,6}\n",
        Just("\"\"\"".to_owned()),
        Just("[[fault]]\n".to_owned()),
        Just("[[steady_state]]\n".to_owned()),
        Just("é\u{1F980}\u{0}".to_owned()),
    ]
}

fn mutated(base: &'static str) -> impl Strategy<Value = String> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..40_usize, pieces()), 1..4);
    edits.prop_map(move |edits| {
        let mut chars: Vec<char> = base.chars().collect();
        for (at, cut, piece) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + cut).min(chars.len());
            chars.splice(at..end, piece.chars());
        }
        chars.into_iter().collect()
    })
}

/// Lines of a drill, each left out, doubled or kept: mostly valid TOML, and often a drill.
fn shuffled() -> impl Strategy<Value = String> {
    let lines: Vec<&'static str> = FULL.lines().collect();
    prop::collection::vec(0..12_u8, lines.len()).prop_map(move |fates| {
        let kept = lines.iter().zip(fates).filter(|(_, fate)| *fate > 0).map(|(line, _)| *line);
        kept.collect::<Vec<_>>().join("\n")
    })
}

/// A right drill of a few faults with numbers of any kind.
fn faults() -> impl Strategy<Value = String> {
    let effect = prop_oneof![
        (1..70_000_u32, 0..70_000_u32).prop_map(|(delay, jitter)| {
            format!("latency = {{ delay = \"{delay}ms\", jitter = \"{jitter}ms\" }}")
        }),
        (0..=100_u8, 1..20_u8).prop_map(|(percent, burst)| {
            format!("loss = {{ percent = {percent}, burst = {burst} }}")
        }),
        (0.0..101.0_f64).prop_map(|percent| format!("refuse = {{ percent = {percent:?} }}")),
        Just("blackhole = true".to_owned()),
    ];
    let fault =
        (0..70_u8, prop::option::of(1..40_u8), "[ab]", "service = \"[ab]\"|unsafe = true", effect);
    prop::collection::vec(fault, 1..5).prop_map(|faults| {
        let mut parts = vec!["name = \"a\"\nduration = \"60s\"\n".to_owned()];
        for (start, duration, bulkhead, target, effect) in faults {
            let duration = duration.map_or(String::new(), |d| format!("duration = \"{d}s\"\n"));
            parts.push(format!("[[fault]]\nbulkhead = \"{bulkhead}\"\n{target}\n"));
            parts.push(format!("start = \"{start}s\"\n{duration}{effect}\n"));
        }
        parts.concat() + "[[steady_state]]\nhttp = \"http://a.example\"\n"
    })
}

#[test]
fn the_bases_are_what_they_should_be() {
    let loaded = loaded(FULL);
    assert_eq!((loaded.drill.faults.len(), loaded.warnings.len()), (4, 0));
    assert!(parse("many.toml", MANY).is_err());
}

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn text_like_toml(parts in prop::collection::vec(pieces(), 0..30)) {
        check(&parts.concat());
    }

    #[test]
    fn a_right_file_with_edits(text in mutated(FULL)) {
        check(&text);
    }

    #[test]
    fn a_wrong_file_with_edits(text in mutated(MANY)) {
        check(&text);
    }

    #[test]
    fn a_right_file_without_some_lines(text in shuffled()) {
        check(&text);
    }

    #[test]
    fn faults_of_any_kind(text in faults()) {
        check(&text);
    }
}
