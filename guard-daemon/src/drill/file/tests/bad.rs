//! Wrong files and what is said about them.

use super::*;

#[test]
fn one_wrong_thing_is_one_finding_with_its_place() {
    let (mut count, mut failed) = (0, Vec::new());
    for case in include_str!("changes.txt").lines().filter(|l| !l.starts_with('#')) {
        let [piece, instead, wanted] = case.split(" => ").collect::<Vec<_>>()[..] else {
            panic!("{case}")
        };
        let (piece, instead) = (piece.replace('|', "\n"), instead.replace('|', "\n"));
        assert_eq!(SMALL.matches(&piece).count(), 1, "{case}");
        let said = brief(&SMALL.replace(&piece, &instead));
        if said != [wanted] {
            failed.push(format!("{case}\nsaid: {said:#?}"));
        }
        count += 1;
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(count > 60, "{count} cases");
}

#[test]
fn a_drill_without_faults_or_without_steady_state_is_none() {
    let top = "name = \"a\"\nduration = \"1s\"\n";
    let said = brief(top);
    assert_eq!(
        said,
        ["1:1 fault: `fault` is missing", "1:1 steady_state: `steady_state` is missing"]
    );
    let said = brief(&format!("{top}fault = []\nsteady_state = []\nabort = []\n"));
    assert_eq!(said, ["3:9 fault: `fault` is empty", "4:16 steady_state: `steady_state` is empty"]);
    let help = parse("drill.toml", top).unwrap_err().to_string();
    assert!(help.contains("help: add `[[fault]]` and its keys below it"), "{help}");
    let said = brief(&format!("{top}fault = 1\nsteady_state = [1]\n"));
    let wanted = [
        "3:9 fault: `fault` must be an array of tables, not a whole number",
        "4:17 steady_state[0]: `steady_state[0]` must be a table, not a whole number",
    ];
    assert_eq!(said, wanted);
}

#[test]
fn everything_wrong_is_said_at_once_in_the_order_of_the_file() {
    let text = include_str!("many.toml");
    insta::assert_snapshot!(brief(text).join("\n"), @r#"
    1:1 name: `name` is missing
    1:1 nam: unknown key `nam`
    3:10 before: `before` needs a unit
    5:8 seed: `seed` must be a whole number, not a text
    7:1 fault[0]: `fault[0]` is a fault on every service of the bulkhead
    8:12 fault[0].bulkhead: `fault[0].bulkhead` is not a valid name
    9:39 fault[0].latency.jitter: `fault[0].latency.jitter` is longer than `delay`
    9:63 fault[0].latency.distribution: `fault[0].latency.distribution` cannot be "bell"
    10:20 fault[0].loss.percent: `fault[0].loss.percent` is 120, out of range
    16:12 fault[1].duration: `fault[1].duration` goes beyond the end of the drill
    17:20 fault[1].refuse.errno: `fault[1].refuse.errno` cannot be "EWHAT"
    17:39 fault[1].refuse.percent: `fault[1].refuse.percent` is 0, out of range
    27:8 fault[3].loss: `fault[2].blackhole` and `fault[3].loss` contradict each other: they are on the same traffic at the same time
    31:25 steady_state[0].success_rate_at_least: `steady_state[0].success_rate_at_least` is 2, out of range
    32:11 steady_state[0].timeout: `steady_state[0].timeout` does not go with `success_rate_at_least`
    35:9 steady_state[1].when: `steady_state[1].when` cannot be "while"
    36:8 steady_state[1].http: `steady_state[1].http` is an https:// URL
    37:13 steady_state[1].exit_code: `steady_state[1].exit_code` does not go with `http`
    39:1 steady_state[2].bulkhead: `steady_state[2].bulkhead` is missing: `breaker` needs it
    39:1 steady_state[2].service: `steady_state[2].service` is missing: `breaker` needs it
    39:1 steady_state[2].when: `steady_state[2].when` is missing: `breaker` needs it
    40:11 steady_state[2].breaker: `steady_state[2].breaker` cannot be "ajar"
    42:1 abort[0]: `abort[0]` has no condition
    44:7 abort[0].for: `abort[0].for` is 1ms, out of range
    "#);
}

/// What is behind a line that is no TOML is judged too, but nothing is said to be missing.
#[test]
fn a_broken_line_hides_only_itself() {
    let text = SMALL.replace("service = \"github\"", "service = github").replace("0.95", "95");
    let said = brief(&text);
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[0].starts_with("5:11 : not valid TOML"), "{said:#?}");
    assert!(said[1].ends_with("is 95, out of range"), "{said:#?}");
}

#[test]
fn a_finding_shows_both_places() {
    let text = SMALL.replace("[[fault]]", "[[fault]]\nduration = \"2m\"");
    let said = parse("drill.toml", &text).unwrap_err().render(false);
    insta::assert_snapshot!(said, @r#"
      error: `fault[0].duration` goes beyond the end of the drill
       ,-[drill.toml:4:12]
     1 | name = "a"
     2 | duration = "60s"
       :            ^^|^^
       :              `-- the drill lasts 1m
     3 | [[fault]]
     4 | duration = "2m"
       :            ^^|^
       :              `-- must be at most 1m
     5 | bulkhead = "research"
       `----
      help: the fault would end at 2m, but the drill's `duration` is 1m: shorten the fault, leave its `duration` out, or lengthen the drill

    1 error, 0 warnings in drill.toml
    "#);
}

/// Files made to be slow.
#[test]
fn floods_end() {
    let floods = [
        SMALL.to_owned()
            + &"[[fault]]\nbulkhead = \"b\"\nunsafe = true\nblackhole = true\n".repeat(4000),
        SMALL.to_owned()
            + &"[[steady_state]]\nhttp = \"http://a.example\"\nname = \"a\"\n".repeat(4000),
        SMALL.to_owned() + &"[[steady_state]]\nhttp = \"http://a.example\"\n".repeat(4000) + "= 1",
        "x".repeat(crate::config::MAX_FILE_BYTES as usize + 1),
    ];
    for text in floods {
        let beginning = text.chars().rev().take(40).collect::<String>();
        let started = std::time::Instant::now();
        assert!(parse("flood.toml", &text).unwrap_err().render(false).len() < 2_000_000);
        // Generous: it is a debug build on a busy machine.
        let elapsed = started.elapsed();
        assert!(elapsed < std::time::Duration::from_secs(10), "{beginning}: {elapsed:?}");
    }
}
