//! What is refused before anything starts, and what a dry run says.

use serde_json::json;
use testbed::requires;

use crate::scene::Scene;

const STATE: &str = "[[steady_state]]\nname = \"fine\"\ncommand = [\"/bin/true\"]\n";

/// (name, what follows the times in the file, words of the error).
const WRONG: [(&str, &str, &str); 6] = [
    ("no fault", "", "fault"),
    (
        "unknown bulkhead",
        "[[fault]]\nbulkhead = \"nobody\"\nservice = \"api\"\nblackhole = true\n",
        "no bulkhead is named \"nobody\"",
    ),
    (
        "unknown service",
        "[[fault]]\nbulkhead = \"research\"\nservice = \"nothing\"\nblackhole = true\n",
        "no service is named \"nothing\"",
    ),
    ("every service", "[[fault]]\nbulkhead = \"research\"\nblackhole = true\n", "unsafe"),
    (
        "a share of 0",
        "[[fault]]\nbulkhead = \"research\"\nservice = \"api\"\nloss = { percent = 0 }\n",
        "percent",
    ),
    (
        "a delay beyond reach",
        "[[fault]]\nbulkhead = \"research\"\nservice = \"api\"\nlatency = { delay = \"5m\" }\n",
        "delay",
    ),
];

#[test]
fn a_drill_that_cannot_be_is_refused_before_anything_starts() {
    if !requires::cgroups("a_drill_that_cannot_be_is_refused_before_anything_starts") {
        return;
    }
    let scene = Scene::new();
    for (name, faults, words) in WRONG {
        for dry_run in [&["--dry-run"][..], &[]] {
            let file = scene.file(&format!("{faults}{STATE}"));
            let refused = scene.guardd.ctl(&[&["drill", "run", &file], dry_run].concat()).unwrap();
            assert_eq!(refused.code, 2, "{name}: {refused:?}");
            assert!(refused.stderr.contains(words), "{name}: {refused:?}");
        }
    }
    for kind in ["fault_injected", "drill_begun"] {
        let events = scene.guardd.ctl_json(&["events", "--kind", kind]).unwrap();
        assert_eq!(events["events"], json!([]));
    }
    scene.end();
}

#[test]
fn a_dry_run_names_everybody_and_changes_nothing() {
    if !requires::cgroups("a_dry_run_names_everybody_and_changes_nothing") {
        return;
    }
    let scene = Scene::new();
    let file = scene.file(&format!(
        "[[fault]]\nbulkhead = \"research\"\nservice = \"api\"\nstart = \"1s\"\n\
         latency = {{ delay = \"20ms\" }}\nloss = {{ percent = 2 }}\n{STATE}"
    ));
    let plan = scene.guardd.ctl_json(&["drill", "run", &file, "--dry-run"]).unwrap();
    let faults = plan["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 2, "{plan:#}");
    let pids = std::fs::read_to_string(scene.guardd.bulkhead("research").join("cgroup.procs"));
    let pids: Vec<u32> = pids.unwrap().lines().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(faults[0]["pids"], json!(pids));
    assert_eq!(
        (&faults[0]["start_seconds"], &faults[0]["end_seconds"]),
        (&json!(1.0), &json!(2.0))
    );
    assert!(faults[0]["addresses"][0].as_str().unwrap().starts_with("127.0.0.1"), "{plan:#}");
    assert_eq!(plan["bystanders"], json!(["writing"]));
    assert!(plan["protected"].as_array().unwrap().contains(&json!("port 22")), "{plan:#}");
    let text = scene.guardd.ctl(&["drill", "run", &file, "--dry-run"]).unwrap();
    assert!(text.stdout.contains("nothing was changed"), "{text:?}");
    let events = scene.guardd.ctl_json(&["events", "--kind", "drill_begun"]).unwrap();
    assert_eq!(events["events"], json!([]));
    scene.end();
}
