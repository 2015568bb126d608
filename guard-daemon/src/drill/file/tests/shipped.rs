//! The files in configs/drills: each is right, says nothing that surprises, and is about what
//! configs/guard.toml has.

use super::*;
use crate::control::api::FaultRequest;
use crate::drill::spec::{Condition, Phase, Probe};
use crate::fault::FaultSpec;

const GUARD: &str = include_str!("../../../../../configs/guard.toml");
const DRILLS: [(&str, &str, &[&str]); 6] = [
    (
        "github-slow",
        include_str!("../../../../../configs/drills/slow.toml"),
        &["latency 300ms +-50ms normal"],
    ),
    ("github-lossy", include_str!("../../../../../configs/drills/lossy.toml"), &["loss 2%"]),
    (
        "github-bursty",
        include_str!("../../../../../configs/drills/bursty.toml"),
        &["loss 5% in bursts of 4"],
    ),
    (
        "github-refused",
        include_str!("../../../../../configs/drills/refused.toml"),
        &["refuse 100% ECONNREFUSED"],
    ),
    (
        "github-blackhole",
        include_str!("../../../../../configs/drills/blackhole.toml"),
        &["loss 100%"],
    ),
    (
        "github-flaky",
        include_str!("../../../../../configs/drills/flaky.toml"),
        &["latency 150ms +-50ms", "loss 1%", "refuse 10% ECONNREFUSED"],
    ),
];

#[test]
fn every_shipped_drill_is_right_and_fits_the_example_configuration() {
    let plan = config::parse("guard.toml", GUARD).unwrap().plan;
    for (name, text, effects) in DRILLS {
        let loaded = loaded(text);
        assert!(loaded.warnings.is_empty(), "{name}: {:#?}", loaded.warnings);
        let drill = loaded.drill;
        assert_eq!(drill.name, name);
        assert!(!drill.purpose.is_empty());
        let effect = |fault: &FaultRequest| {
            assert_eq!(
                (fault.bulkhead.as_str(), fault.service.as_deref()),
                ("research", Some("github"))
            );
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
fn the_refusing_drill_wants_the_breaker_to_open() {
    let (_, text, _) = DRILLS[3];
    let open = |states: &[crate::drill::spec::SteadyState]| {
        states.iter().any(|state| {
            state.when == [Phase::During]
                && matches!(&state.probe, Probe::Breaker { state, .. } if state == "open")
        })
    };
    assert!(open(&drill(text).steady_state));
}

/// Each says what it tests, what is healthy, and how often it happens.
#[test]
fn every_shipped_drill_explains_itself() {
    for (name, text, _) in DRILLS {
        for words in ["What it tests: ", "What a healthy agent shows: ", "How often it happens: "] {
            assert!(text.contains(&format!("\n# {words}")), "{name}: {words}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{name}");
    }
}

#[test]
fn every_file_of_the_directory_is_tested() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/drills");
    let files = std::fs::read_dir(directory).unwrap();
    assert_eq!(files.count(), DRILLS.len());
    for (name, text, _) in DRILLS {
        let stem = name.strip_prefix("github-").unwrap();
        let path = format!("{directory}/{stem}.toml");
        assert_eq!(load(Path::new(&path)).unwrap().text, text);
    }
}
