//! Each verdict, by a drill that earns it.

use serde_json::{Value, json};
use testbed::requires;

use crate::scene::{Scene, met};

const WATCH_WRITING: &str =
    "[[steady_state]]\nname = \"writing\"\nbulkhead = \"writing\"\nsuccess_rate_at_least = 0.99\n";

#[test]
fn held_when_agents_bear_the_fault_and_others_do_not_notice() {
    if !requires::cgroups("held_when_agents_bear_the_fault_and_others_do_not_notice") {
        return;
    }
    let scene = Scene::new();
    let out = scene.out();
    let rest = format!(
        "purpose = \"a test\"\nseed = 7\n[[fault]]\nbulkhead = \"research\"\nservice = \"api\"\n\
         latency = {{ delay = \"20ms\" }}\n{WATCH_WRITING}\
         [[steady_state]]\nname = \"research\"\nbulkhead = \"research\"\nservice = \"api\"\n\
         latency_at_most = \"5s\"\n\
         [[steady_state]]\nname = \"command\"\ncommand = [\"/bin/true\"]\n"
    );
    let (record, code) = scene.run(&rest, &["--out", &out.display().to_string()]);
    assert_eq!(code, 0, "{record:#}");
    assert_eq!((&record["status"], &record["verdict"]), (&json!("completed"), &json!("held")));
    assert_eq!((&record["seed"], &record["plan"]["bystanders"]), (&json!(7), &json!(["writing"])));
    for name in ["writing", "research", "command"] {
        for phase in ["before", "during", "after"] {
            assert_eq!(met(&record, name, phase), json!(true), "{record:#}");
        }
    }
    let proof = &record["proof"][0];
    assert_eq!(proof["met"], json!(true), "{proof}");
    assert_eq!(proof["fault"]["ended"], "done");
    let counters = &proof["fault"]["counters"];
    assert!(counters["delayed"].as_u64().unwrap() > 10, "{counters}");
    if proof["fault"]["engine"] == "nfqueue" {
        assert!(proof["measured"].as_str().unwrap().contains("held for 2"), "20 ms: {proof}");
    }
    let writing = &record["collateral"][0];
    assert_eq!((&writing["bulkhead"], &writing["touched"]), (&json!("writing"), &json!(0)));
    assert!(writing["calls"].as_u64().unwrap() > 10, "{writing}");
    assert_eq!(record["cleanup"]["complete"], json!(true));
    assert!(record["samples"].as_array().unwrap().len() >= 3, "{record:#}");
    results_are_there(&out.join(record["run_id"].as_str().unwrap()), &record);
    scene.end();
}

fn results_are_there(directory: &std::path::Path, record: &Value) {
    for name in ["journal.json", "record.json", "report.md", "junit.xml", "success.svg"] {
        let text = std::fs::read_to_string(directory.join(name)).unwrap();
        assert!(text.len() > 100, "{name}: {text}");
    }
    let journal = std::fs::read(directory.join("journal.json")).unwrap();
    let journal: Value = serde_json::from_slice(&journal).unwrap();
    assert_eq!((&journal["status"], &journal["deviated"]), (&json!("completed"), &json!(false)));
    assert_eq!(journal["steady_states"]["before"]["steady_state_met"], json!(true));
    assert_eq!(journal["guard"]["run_id"], record["run_id"]);
}

#[test]
fn deviated_when_what_should_hold_does_not() {
    if !requires::cgroups("deviated_when_what_should_hold_does_not") {
        return;
    }
    let scene = Scene::new();
    let rest = format!(
        "[[fault]]\nbulkhead = \"research\"\nservice = \"api\"\nrefuse = {{ percent = 100 }}\n\
         {WATCH_WRITING}[[steady_state]]\nname = \"research\"\nbulkhead = \"research\"\n\
         success_rate_at_least = 0.9\n"
    );
    let (record, code) = scene.run(&rest, &[]);
    assert_eq!(code, 1, "{record:#}");
    assert_eq!((&record["status"], &record["verdict"]), (&json!("completed"), &json!("deviated")));
    assert_eq!(met(&record, "research", "before"), json!(true));
    assert_eq!(met(&record, "research", "during"), json!(false));
    assert_eq!(met(&record, "research", "after"), json!(true), "{record:#}");
    assert_eq!(met(&record, "writing", "during"), json!(true));
    let checks = record["checks"].as_array().unwrap();
    let missed = checks.iter().find(|c| c["name"] == "research" && c["phase"] == "during").unwrap();
    let at = missed["first_miss_seconds"].as_f64().unwrap();
    let end = record["seconds"].as_f64().unwrap();
    assert!((1.0..end).contains(&at), "{missed}");
    scene.end();
}

#[test]
fn inconclusive_when_no_traffic_matched() {
    if !requires::cgroups("inconclusive_when_no_traffic_matched") {
        return;
    }
    let scene = Scene::with_agents(&["writing"]);
    let rest = format!(
        "[[fault]]\nbulkhead = \"research\"\nservice = \"api\"\nloss = {{ percent = 50 }}\n\
         {WATCH_WRITING}"
    );
    let (record, code) = scene.run(&rest, &[]);
    assert_eq!(code, 5, "{record:#}");
    assert_eq!(record["verdict"], "inconclusive");
    assert_eq!(record["proof"][0]["met"], Value::Null);
    assert_eq!(record["proof"][0]["fault"]["counters"]["matched"], 0);
    scene.end();
}

#[test]
fn nothing_is_injected_where_the_steady_state_is_not_there_before() {
    if !requires::cgroups("nothing_is_injected_where_the_steady_state_is_not_there_before") {
        return;
    }
    let scene = Scene::new();
    let rest = "[[fault]]\nbulkhead = \"research\"\nservice = \"api\"\nblackhole = true\n\
                [[steady_state]]\nname = \"never\"\ncommand = [\"/bin/false\"]\n";
    let (record, code) = scene.run(rest, &[]);
    assert_eq!(code, 5, "{record:#}");
    assert_eq!((&record["status"], &record["proof"]), (&json!("failed"), &json!([])));
    let events = scene.guardd.ctl_json(&["events", "--kind", "fault_injected"]).unwrap();
    assert_eq!(events["events"], json!([]));
    scene.end();
}

/// The `n`-th draw of a seed (splitmix64), written down here once more.
fn draw(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn the_seed_decides_every_draw() {
    if !requires::cgroups("the_seed_decides_every_draw") {
        return;
    }
    let scene = Scene::new();
    let rest = format!(
        "before = \"0s\"\nduration = \"2s\"\nafter = \"0s\"\n[[fault]]\nbulkhead = \"research\"\n\
         service = \"api\"\nrefuse = {{ percent = 25 }}\n{WATCH_WRITING}"
    );
    let (record, _) = scene.run(&rest, &["--seed", "12345"]);
    let counters = &record["proof"][0]["fault"]["counters"];
    let count = |name: &str| counters[name].as_u64().unwrap();
    let draws = count("matched") - count("expired");
    assert!(draws > 20, "{counters}");
    let hits = (0..draws).filter(|n| draw(12345, *n) >> 32 < (1 << 32) / 4).count() as u64;
    assert_eq!(count("refused"), hits, "{counters}");
    scene.end();
}
