//! The files in configs/, and the contract.

use super::*;

const GUARD: &str = include_str!("../../../../configs/guard.toml");
const DEMO: &str = include_str!("../../../../configs/demo.toml");

fn accepted(name: &str, text: &str) -> Loaded {
    parse(name, text).unwrap_or_else(|e| panic!("{}", e.render(false)))
}

/// The example with every key in comment set.
fn uncommented() -> String {
    let bare = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest.into(),
        _ => line.to_owned(),
    };
    GUARD.lines().map(bare).collect::<Vec<String>>().join("\n")
}

#[test]
fn the_example_has_no_errors_and_no_warnings() {
    let loaded = accepted("guard.toml", GUARD);
    assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
    assert_eq!(loaded.plan.services.len(), 4);
    assert_eq!(loaded.plan.bulkheads.len(), 2);
}

/// What the example shows as a default is one.
#[test]
fn the_example_sets_defaults_only() {
    let empty = accepted("empty.toml", "").plan.daemon;
    assert_eq!(accepted("guard.toml", GUARD).plan.daemon, empty);
}

#[test]
fn every_key_in_comment_is_right_too_and_warns_that_it_does_nothing_yet() {
    let loaded = accepted("guard.toml", &uncommented());
    // Whether the drill file of its schedule is there is this host's matter.
    let keys: Vec<&str> = loaded
        .warnings
        .iter()
        .map(|w| w.key.as_str())
        .filter(|k| *k != "schedule[0].drill")
        .collect();
    let wanted = ["bulkheads.research.token_budget"];
    assert_eq!(keys, wanted);
}

#[test]
fn the_example_names_every_key_of_the_table() {
    let text = uncommented();
    for entry in schema::entries() {
        let name = entry.key.name;
        // Steps are named in a remark.
        let named = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|w| w == name);
        assert!(named, "{} is not in configs/guard.toml", entry.path);
    }
}

/// Defaults and ranges in its remarks are those of the table.
#[test]
fn the_example_shows_the_defaults_of_the_table() {
    let text = uncommented();
    for key in schema::entries().iter().filter(|e| e.path.starts_with("defaults.breaker.")) {
        if let schema::Absent::Value(value) = key.key.default {
            let line = format!("\n{} = {value}\n", key.key.name);
            assert!(text.contains(&line), "{line}");
        }
    }
}

/// The configuration contract of the design, as it is printed there.
#[test]
fn the_contract_is_accepted() {
    let loaded = accepted("contract.toml", include_str!("contract.toml"));
    let unenforced = |w: &&Diagnostic| w.message.ends_with("not enforced by this version");
    let others: Vec<_> = loaded.warnings.iter().filter(|w| !unenforced(w)).collect();
    // Its service has port 443: guard cannot know that the fallback's certificate covers it.
    assert_eq!(
        others.iter().map(|w| w.key.as_str()).collect::<Vec<_>>(),
        ["services.github.fallback"]
    );
    assert_eq!(loaded.plan.service("github").unwrap().endpoints.len(), 3);
}

#[test]
fn the_demo_is_as_the_demo_needs_it() {
    let loaded = accepted("demo.toml", DEMO);
    assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
    let plan = loaded.plan;
    let lines: Vec<String> = plan
        .services
        .iter()
        .flat_map(|s| {
            s.endpoints.iter().map(|e| format!("{} {}", s.name, text::endpoint::display(e)))
        })
        .chain(plan.bulkheads.iter().map(|b| format!("{} {}", b.name, b.cgroup.display())))
        .collect();
    let wanted = [
        "api 127.0.0.1:18083",
        "assistant 127.0.0.1:18085",
        "database 127.0.0.1:18084",
        "github 127.0.0.1:18080",
        "github [::1]:18080",
        "model 127.0.0.1:18082",
        "search 127.0.0.1:18081",
        "research guard-demo/research",
        "worker guard-demo/worker",
        "writing guard-demo/writing",
    ];
    assert_eq!(lines, wanted);
    assert_eq!(plan.daemon.fault_lease, std::time::Duration::from_secs(1));
    assert_eq!(plan.daemon.metrics_listen, "127.0.0.1:19729".parse().ok());
}
