//! The files in configs/drills: each is right, says nothing that surprises, and is about what
//! configs/guard.toml has. The suite `drill` of the test-bed runs them.

use std::collections::BTreeMap;

use super::*;
use crate::control::api::FaultRequest;
use crate::drill::spec::{Condition, Phase, Probe};
use crate::fault::FaultSpec;

const GUARD: &str = include_str!("../../../../../configs/guard.toml");
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/drills");

/// A file, the service of research that is faulted (name servers have none), and the effects.
type Shipped = (&'static str, Option<&'static str>, &'static [&'static str]);

const DRILLS: [Shipped; 23] = [
    ("answers-lost", Some("github"), &["loss 100% ingress"]),
    ("blackhole", Some("github"), &["loss 100%"]),
    ("bursty", Some("github"), &["loss 5% in bursts of 4"]),
    ("dns-refused", None, &["dns refused"]),
    ("dns-silent", None, &["dns no_answer"]),
    ("flaky", Some("github"), &["latency 150ms +-50ms", "loss 1%", "refuse 10% ECONNREFUSED"]),
    ("flapping", Some("github"), &["loss 100%"]),
    ("half-dead", Some("anthropic"), &["loss 100%"]),
    ("lossy", Some("github"), &["loss 2%"]),
    ("mcp-hang", Some("mcp"), &["loss 100%"]),
    ("mcp-restart", Some("mcp"), &["refuse 100% ECONNREFUSED", "refuse 100% ECONNREFUSED"]),
    ("orphans", Some("mcp"), &["refuse 50% ECONNREFUSED"]),
    ("outage-35s", Some("anthropic"), &["refuse 100% ECONNREFUSED"]),
    ("outage-3min", Some("anthropic"), &["loss 100%"]),
    ("outage-5s", Some("anthropic"), &["loss 100%"]),
    ("refused", Some("github"), &["refuse 100% ECONNREFUSED"]),
    ("resets", Some("github"), &["reset 20%"]),
    ("slow", Some("github"), &["latency 300ms +-50ms normal"]),
    ("slow-connect", Some("github"), &["latency 3s per connect"]),
    ("slow-model", Some("anthropic"), &["latency 45s per first_byte"]),
    ("stream-stall", Some("anthropic"), &["loss 100%"]),
    ("thin", Some("github"), &["bandwidth 256kbit"]),
    ("wedged-gateway", Some("local_model"), &["latency 60s per first_byte"]),
];

/// The files as they are in the directory, by name without `.toml`.
fn files() -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(DIRECTORY).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (stem, load(&path).unwrap().text)
        })
        .collect()
}

#[test]
fn every_shipped_drill_is_right_and_fits_the_example_configuration() {
    let plan = config::parse("guard.toml", GUARD).unwrap().plan;
    let files = files();
    for (file, service, effects) in DRILLS {
        let loaded = loaded(&files[file]);
        assert!(loaded.warnings.is_empty(), "{file}: {:#?}", loaded.warnings);
        let drill = loaded.drill;
        assert!(drill.name.ends_with(file), "{file}: {}", drill.name);
        assert!(!drill.purpose.is_empty());
        let effect = |fault: &FaultRequest| {
            assert_eq!((fault.bulkhead.as_str(), fault.service.as_deref()), ("research", service));
            FaultSpec::check(fault, &plan, || 1).unwrap().effect.text()
        };
        assert_eq!(drill.faults.iter().map(effect).collect::<Vec<_>>(), effects);
        // The bystander is watched, and a drill that harms it ends.
        assert!(plan.bulkhead("writing").is_some());
        assert!(drill.steady_state.iter().any(|state| {
            state.when.len() == 3
                && matches!(&state.probe, Probe::SuccessRate { pairs, .. } if pairs.bulkhead == "writing")
        }));
        assert!(drill.abort.iter().any(|abort| matches!(
            &abort.condition,
            Condition::SuccessRate { pairs, .. } if pairs.bulkhead == "writing"
        )));
    }
}

#[test]
fn the_refusing_drills_want_the_breaker_to_open() {
    let open = |states: &[crate::drill::spec::SteadyState]| {
        states.iter().any(|state| {
            state.when == [Phase::During]
                && matches!(&state.probe, Probe::Breaker { state, .. } if state == "open")
        })
    };
    for file in ["refused", "outage-35s"] {
        assert!(open(&drill(&files()[file]).steady_state), "{file}");
    }
}

/// Each says what it tests, what is healthy, and how often it happens.
#[test]
fn every_shipped_drill_explains_itself() {
    for (file, text) in files() {
        assert!(text.starts_with(&format!("# {file}.toml: ")), "{file}");
        for words in ["What it tests: ", "What a healthy agent shows: ", "How often it happens: "] {
            assert!(text.contains(&format!("\n# {words}")), "{file}: {words}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{file}");
    }
}

#[test]
fn every_file_of_the_directory_is_tested() {
    let files = files();
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        DRILLS.map(|(file, ..)| file).iter().collect::<Vec<_>>()
    );
}
