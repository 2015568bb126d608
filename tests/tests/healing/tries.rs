//! Steps that are tried again by a retry policy, and how hooks are run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testbed::guardd::{Guardd, GuarddConfig};

use crate::incidents;

/// A guardd whose rule `hook` runs this script, with these keys beside it. Nobody calls.
pub(super) fn start(script: &str, beside: &str) -> Guardd {
    let script = script.replace('\\', "\\\\").replace('"', "\\\"");
    Guardd::start(GuarddConfig::new(format!(
        "[services.api]\nendpoints = [\"127.0.0.1:1\"]\n[bulkheads.research]\n\
         [retry_policies.quick]\nmax_retries = 3\nbackoff = \"fixed\"\ninitial_delay = \"50ms\"\n\
         [retry_policies.slow]\nmax_retries = 3\nbackoff = \"fixed\"\ninitial_delay = \"1m\"\nmax_delay = \"1m\"\n\
         [[recovery]]\nname = \"hook\"\nwhen = {{ bulkhead = \"research\", out_of_memory = true }}\n\
         steps = [ {{ exec = [\"/bin/sh\", \"-c\", \"{script}\"]{beside} }} ]\nverify = {{ within = \"1s\" }}\n"
    )))
    .unwrap()
}

/// Runs the rule by hand; its only step.
pub(super) fn run(guardd: &Guardd) -> Value {
    guardd.ctl_json(&["recover", "hook"]).unwrap()["steps"][0].clone()
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// Fails at the first try, hangs at the second, works at the third.
#[test]
fn a_step_is_tried_again_by_its_policy_and_each_try_is_told() {
    let files = tempfile::tempdir().unwrap();
    let tries = files.path().join("tries");
    let script = format!(
        "echo >> {0}; case $(wc -l < {0}) in 1) echo not yet >&2; exit 3;; 2) sleep 600;; esac",
        tries.display()
    );
    let guardd = start(&script, ", retry = \"quick\", timeout = \"4s\"");
    let step = run(&guardd);
    assert_eq!(step["result"], "done", "{step:#}");
    assert_eq!(step["message"], "exit code 0; at try 3");
    assert_eq!(lines(&tries), 3);
    let incident = incidents(&guardd).remove(0);
    let timeline = incident["timeline"].as_array().unwrap();
    let notes: Vec<&str> = timeline
        .iter()
        .filter(|line| line["kind"] == "note")
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    assert_eq!(notes.len(), 2, "{incident:#}");
    assert_eq!(notes[0], "step 1 exec, try 1: failed: exit code 3: not yet; tried again in 0.1 s");
    assert!(notes[1].starts_with("step 1 exec, try 2: timed_out: "), "{notes:?}");
    guardd.finish().unwrap();
}

#[test]
fn tries_end_with_the_policy_or_with_the_steps_time() {
    let files = tempfile::tempdir().unwrap();
    for (policy, tries, why) in [
        ("quick", 4, "exit code 1; tried 4 times"),
        ("slow", 1, "exit code 1; tried 1 times; the next try would be in 60.0 s, and "),
        ("validation_error", 1, "exit code 1; tried 1 times"),
    ] {
        let path = files.path().join(policy);
        let script = format!("echo >> {}; exit 1", path.display());
        let guardd = start(&script, &format!(", retry = \"{policy}\""));
        let step = run(&guardd);
        assert_eq!(step["result"], "failed", "{step:#}");
        assert!(step["message"].as_str().unwrap().starts_with(why), "{step:#}");
        assert!(step["seconds"].as_f64().unwrap() < 5.0, "{step:#}");
        assert_eq!(lines(&path), tries, "{policy}");
        guardd.finish().unwrap();
    }
    // Without a policy nothing is tried again.
    let path = files.path().join("none");
    let guardd = start(&format!("echo >> {}; exit 1", path.display()), "");
    run(&guardd);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(lines(&path), 1);
    guardd.finish().unwrap();
}
