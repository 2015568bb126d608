//! Effects on the same traffic at the same time.

use super::*;

/// What is said about a drill of one minute with these faults, each on bulkhead `b` unless it says
/// otherwise.
fn said(faults: &[&str]) -> Vec<String> {
    let entry = |fault: &&str| {
        let bulkhead = if fault.contains("bulkhead") { "" } else { "bulkhead = \"b\"\n" };
        format!("[[fault]]\n{bulkhead}{}\n", fault.replace("; ", "\n"))
    };
    let faults: String = faults.iter().map(entry).collect();
    let text = format!(
        "name = \"a\"\nduration = \"60s\"\n{faults}[[steady_state]]\nhttp = \"http://a.example\"\n"
    );
    // Without the places.
    brief(&text)
        .iter()
        .filter_map(|s| s.split_once(": ").map(|(_, said)| said.to_owned()))
        .collect()
}

const CONTRADICT: &str = "contradict each other: they are on the same traffic at the same time";

#[test]
fn what_cannot_both_be_is_an_error() {
    let both = |a: &str, b: &str| vec![format!("`fault[{a}` and `fault[{b}` {CONTRADICT}")];
    let refuse = "service = \"s\"; refuse.errno = ";
    let errnos = [format!("{refuse}\"EPERM\""), format!("{refuse}\"EACCES\"")];
    let errnos: Vec<&str> = errnos.iter().map(String::as_str).collect();
    assert_eq!(said(&errnos), both("0].refuse", "1].refuse"));
    for other in
        ["loss.percent = 1", "latency.delay = \"1s\"", "refuse.percent = 1", "blackhole = true"]
    {
        let key = other.split(['.', ' ']).next().unwrap();
        let other = format!("service = \"s\"; {other}");
        let wanted = both("0].blackhole", &format!("1].{key}"));
        assert_eq!(said(&["service = \"s\"; blackhole = true", &other]), wanted);
        let wanted = both("0].loss", &format!("1].{key}"));
        assert_eq!(said(&["service = \"s\"; loss.percent = 100", &other]), wanted);
    }
    // In one fault.
    let one = "service = \"s\"; refuse = {}; blackhole = true";
    assert_eq!(said(&[one]), both("0].refuse", "0].blackhole"));
    // A fault on every service is on each of them.
    let every = "unsafe = true; blackhole = true";
    assert_eq!(said(&["service = \"s\"; refuse = {}", every]), both("0].refuse", "1].blackhole"));
    assert_eq!(said(&[every, every]), both("0].blackhole", "1].blackhole"));
}

#[test]
fn what_is_apart_is_no_contradiction() {
    let nothing: [&str; 0] = [];
    let hole = "service = \"s\"; blackhole = true";
    for (first, second) in [
        ("duration = \"30s\"", "start = \"30s\""),
        ("start = \"30s\"; duration = \"10s\"", "duration = \"30s\""),
    ] {
        let faults =
            [format!("{hole}; {first}"), format!("service = \"s\"; refuse = {{}}; {second}")];
        assert_eq!(said(&faults.each_ref().map(String::as_str)), nothing);
    }
    assert_eq!(said(&[hole, "service = \"t\"; blackhole = true"]), nothing);
    assert_eq!(said(&[hole, "bulkhead = \"c\"; service = \"s\"; blackhole = true"]), nothing);
}

#[test]
fn what_fits_together_is_allowed() {
    let nothing: [&str; 0] = [];
    // Refused are connects; what is open goes on, late and with losses.
    let all = "service = \"s\"; refuse = {}; loss.percent = 1; latency.delay = \"1s\"";
    assert_eq!(said(&[all, "service = \"s\"; loss.percent = 2; refuse.percent = 1"]), nothing);
    let late = "service = \"s\"; latency.delay = \"1s\"";
    let wanted = "warning: `fault[0].latency` and `fault[1].latency` add up: they are on the same \
                  traffic at the same time";
    assert_eq!(said(&[late, late]), [wanted]);
}

#[test]
fn what_the_kernel_cannot_hold_is_an_error() {
    let nothing: [&str; 0] = [];
    let loss = |n: usize| format!("service = \"s{n}\"; loss.percent = 1");
    let many = |count: usize, make: &dyn Fn(usize) -> String| {
        let faults: Vec<String> = (0..count).map(make).collect();
        said(&faults.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(many(64, &loss), nothing);
    assert_eq!(many(65, &loss), ["the drill has 65 effects"]);
    let late = |n: usize| format!("service = \"s{n}\"; latency.delay = \"1s\"");
    assert_eq!(many(16, &late), nothing);
    assert_eq!(many(17, &late), ["the drill has 17 latencies and bandwidths"]);
    assert_eq!(many(8, &|_| loss(1)), nothing);
    let wanted = "bulkhead `b` to service `s1` has 9 effects at the same time";
    assert_eq!(many(9, &|_| loss(1)), [wanted]);
    // One after the other they are not at once.
    let each = |n: usize| format!("{}; start = \"{n}s\"; duration = \"1s\"", loss(1));
    assert_eq!(many(20, &each), nothing);
    // Those on every service count for each.
    let mixed = |n: usize| if n < 5 { "unsafe = true; loss.percent = 1".into() } else { loss(1) };
    assert_eq!(many(9, &mixed), [wanted]);
    let every = |_| "unsafe = true; loss.percent = 1".to_owned();
    assert_eq!(many(9, &every), ["bulkhead `b` to every service has 9 effects at the same time"]);
}
