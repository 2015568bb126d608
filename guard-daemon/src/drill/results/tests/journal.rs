//! The journal against the rules of its format, written down once more, independently.

use serde_json::Value;

use super::super::journal::text;
use super::records;
use crate::drill::Record;

fn journal(record: &Record) -> Value {
    let text = text(record).unwrap();
    assert!(text.is_ascii(), "{text}");
    serde_json::from_str(&text).unwrap()
}

/// `2026-11-23T17:27:48.452244+00:00`
fn is_time(value: &Value) -> bool {
    let shape = "dddd-dd-ddTdd:dd:dd.dddddd+00:00";
    let Some(text) = value.as_str() else { return false };
    text.len() == shape.len()
        && text.chars().zip(shape.chars()).all(|(letter, shape)| {
            if shape == 'd' { letter.is_ascii_digit() } else { letter == shape }
        })
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && !text.contains('\n'))
}

/// A plain scalar of YAML, as reports put it into their front matter.
fn is_front_matter(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    is_text(value)
        && text.chars().next().is_some_and(char::is_alphanumeric)
        && !text.contains(": ")
        && !text.ends_with(':')
}

fn check_activity(activity: &Value) {
    assert!(is_text(&activity["name"]), "{activity}");
    let kind = activity["type"].as_str().unwrap();
    assert!(["probe", "action"].contains(&kind), "{activity}");
    let provider = &activity["provider"];
    match provider["type"].as_str().unwrap() {
        "process" => {
            assert!(provider["path"].is_string(), "{activity}");
            let arguments = provider["arguments"].as_array().unwrap();
            assert!(arguments.iter().all(Value::is_string), "{activity}");
        }
        "http" => assert!(provider["url"].is_string(), "{activity}"),
        other => panic!("{other}: {activity}"),
    }
    assert!(provider.get("timeout").is_none_or(Value::is_number), "{activity}");
}

fn check_hypothesis_probe(probe: &Value) {
    check_activity(probe);
    let tolerance = &probe["tolerance"];
    match tolerance["type"].as_str() {
        None => assert!(tolerance.is_i64() || tolerance.is_string(), "{probe}"),
        Some("range") => {
            let range = tolerance["range"].as_array().unwrap();
            assert!(range.len() == 2 && range.iter().all(Value::is_number), "{probe}");
        }
        Some("regex") => assert!(tolerance["pattern"].is_string(), "{probe}"),
        Some(other) => panic!("{other}: {probe}"),
    }
}

fn check_run(run: &Value) {
    check_activity(&run["activity"]);
    assert!(is_time(&run["start"]) && is_time(&run["end"]), "{run}");
    assert!(run["duration"].as_f64().unwrap() >= 0.0, "{run}");
    assert!(run.get("output").is_some_and(|it| it.get("data").is_none()), "{run}");
    match run["status"].as_str().unwrap() {
        "succeeded" => assert!(run.get("exception").is_none(), "{run}"),
        "failed" => assert!(is_text(&run["exception"][0]), "{run}"),
        other => panic!("{other}: {run}"),
    }
}

fn check_state(state: &Value) {
    assert!(state["steady_state_met"].is_boolean() || state["steady_state_met"].is_null());
    for probe in state["probes"].as_array().unwrap() {
        check_run(probe);
        check_hypothesis_probe(&probe["activity"]);
        assert!(probe["tolerance_met"].is_boolean(), "{probe}");
    }
}

fn check_experiment(experiment: &Value) {
    assert!(is_front_matter(&experiment["title"]), "{experiment}");
    assert!(is_front_matter(&experiment["description"]), "{experiment}");
    assert!(experiment["tags"].as_array().unwrap().iter().all(is_text));
    assert!(experiment["configuration"].is_object() && experiment["secrets"].is_object());
    let ours = &experiment["extensions"][0];
    assert_eq!(ours["name"], "guard");
    assert!(ours["drill"].is_object() && ours["seed"].is_u64());
    let hypothesis = &experiment["steady-state-hypothesis"];
    assert!(is_text(&hypothesis["title"]));
    hypothesis["probes"].as_array().unwrap().iter().for_each(check_hypothesis_probe);
    let method = experiment["method"].as_array().unwrap();
    method.iter().for_each(check_activity);
    assert!(method.iter().all(|action| action["type"] == "action"));
    let rollbacks = experiment["rollbacks"].as_array().unwrap();
    assert_eq!((rollbacks.len(), &rollbacks[0]["name"]), (1, &Value::from("clear faults")));
    rollbacks.iter().for_each(check_activity);
}

fn check_journal(journal: &Value) {
    // A semantic version: the report generator compares it.
    let version = journal["chaoslib-version"].as_str().unwrap();
    let parts: Vec<&str> = version.split('.').collect();
    assert!(parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok()), "{version}");
    assert!(is_text(&journal["platform"]) && is_text(&journal["node"]));
    check_experiment(&journal["experiment"]);
    assert!(is_time(&journal["start"]) && is_time(&journal["end"]));
    assert!(journal["duration"].is_f64());
    let status = journal["status"].as_str().unwrap();
    assert!(["completed", "failed", "aborted", "interrupted"].contains(&status), "{status}");
    assert!(journal["deviated"].is_boolean());
    let states = &journal["steady_states"];
    for phase in ["before", "after"] {
        let state = states.get(phase).unwrap();
        assert!(state.is_null() || state.is_object());
    }
    let objects = [&states["before"], &states["after"]].into_iter().filter(|it| it.is_object());
    objects.chain(states["during"].as_array().unwrap()).for_each(check_state);
    journal["run"].as_array().unwrap().iter().for_each(check_run);
    journal["rollbacks"].as_array().unwrap().iter().for_each(check_run);
    let guard = &journal["guard"];
    assert_eq!(guard["schema"], "guard.drill/1");
    assert!(["held", "deviated", "inconclusive"].contains(&guard["verdict"].as_str().unwrap()));
    assert!(guard["exit_code"].is_u64() && guard["run_id"].is_string());
    assert!(guard["fault_proof"].is_array() && guard["timeline"].is_array());
    assert!(guard["cleanup"].is_object());
}

#[test]
fn every_record_gives_a_journal_that_keeps_the_rules() {
    for (name, record) in records::all() {
        println!("{name}");
        check_journal(&journal(&record));
    }
}

#[test]
fn status_and_deviated_say_how_it_ended() {
    let expected = [
        ("held", "completed", false),
        ("deviated", "completed", true),
        ("inconclusive", "failed", false),
        ("interrupted", "failed", false),
        ("aborted", "failed", true),
        ("failed", "failed", false),
        ("daemon gone", "aborted", false),
        ("empty", "failed", false),
        ("hostile", "failed", true),
    ];
    for ((name, record), expected) in records::all().iter().zip(expected) {
        let journal = journal(record);
        let status = journal["status"].as_str().unwrap();
        assert_eq!((*name, status, journal["deviated"].as_bool().unwrap()), expected);
    }
    let mut clean = records::interrupted();
    clean.cleanup.complete = Some(true);
    assert_eq!(journal(&clean)["status"], "interrupted");
}

#[test]
fn steady_states_tell_met_missed_and_unknown_apart() {
    let states = |record: &Record| journal(record)["steady_states"].clone();
    assert_eq!(states(&records::held())["during"][0]["steady_state_met"], true);
    let missed = &states(&records::deviated())["during"][0];
    assert_eq!(missed["steady_state_met"], false);
    assert_eq!(missed["probes"][0]["status"], "succeeded");
    assert_eq!(missed["probes"][0]["tolerance_met"], false);
    let unknown = &states(&records::inconclusive())["during"][0];
    assert_eq!(unknown["steady_state_met"], Value::Null);
    assert_eq!(unknown["probes"][0]["status"], "failed");
    let none = states(&records::interrupted());
    assert!(none["after"].is_null() && none["during"].as_array().unwrap().is_empty());
}

#[test]
fn actions_are_commands_that_do_the_same() {
    let mut record = records::held();
    record.drill.faults[0].pulse_on_seconds = Some(5.0);
    record.drill.faults[0].pulse_off_seconds = Some(2.5);
    let journal = journal(&record);
    let method = &journal["experiment"]["method"];
    assert_eq!(method[0]["name"], "latency 300ms +-50ms normal on research/github");
    let words: Vec<&str> = method[0]["provider"]["arguments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    assert_eq!(
        words.join(" "),
        "fault inject --bulkhead research --service github --for 30s --latency 0.3s \
         --jitter 0.05s --distribution normal --pulse 5s/2.5s"
    );
    let run = &journal["run"][0];
    assert_eq!(run["start"], "2026-11-23T17:20:05.700000+00:00");
    assert_eq!(run["end"], "2026-11-23T17:20:35.700000+00:00");
    assert_eq!(run["output"]["fault"]["counters"]["delayed"], 1190);
}

#[test]
fn what_ended_it_and_what_is_left_are_failed_entries() {
    let aborted = journal(&records::aborted());
    let last = aborted["run"].as_array().unwrap().last().unwrap();
    let name = "abort when less than 50 % of writing/* succeed for 10 s";
    assert_eq!((&last["activity"]["name"], &last["status"]), (&name.into(), &"failed".into()));
    let failed = journal(&records::failed());
    let last = failed["run"].as_array().unwrap().last().unwrap();
    assert_eq!(last["exception"][0], "loss cannot be injected: halted");
    let left = &journal(&records::interrupted())["rollbacks"][0];
    assert_eq!(left["status"], "failed");
    assert!(left["exception"][0].as_str().unwrap().contains("qdisc fq on eth0"), "{left}");
    assert_eq!(left["output"]["left_over"][0], "nftables chain guard/delay_7");
    assert!(journal(&records::empty())["rollbacks"].as_array().unwrap().is_empty());
}
