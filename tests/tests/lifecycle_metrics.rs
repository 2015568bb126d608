//! `/metrics` as Prometheus reads it: OpenMetrics text, every line understood, every series once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may die of what it did not expect"
)]

mod safety_support;

use std::collections::{BTreeMap, BTreeSet};

use safety_support::{LIMIT, agent, config, inject, url};
use testbed::guardd::Guardd;
use testbed::server::{Behaviour, Server};
use testbed::{requires, wait};

/// What is declared and sampled under one name.
#[derive(Default)]
struct Family {
    kind: String,
    help: bool,
    samples: u64,
}

/// Reads the whole page; panics at the first line that is not OpenMetrics.
fn parse(text: &str) -> (BTreeMap<String, Family>, BTreeMap<String, f64>) {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut series = BTreeMap::new();
    let mut current = String::new();
    let body = text.strip_suffix("# EOF\n").expect("the page ends with # EOF");
    for line in body.lines() {
        assert!(!line.is_empty() && line.trim_end() == line, "blank or padded: {line:?}");
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (word, name, rest) =
                (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            if name != current {
                assert!(!families.contains_key(name), "the family {name} is split or doubled");
                name.clone_into(&mut current);
            }
            let family = families.entry(name.to_owned()).or_default();
            assert_eq!(family.samples, 0, "{word} after samples: {line}");
            match word {
                "HELP" => {
                    assert!(!family.help && !rest.is_empty(), "{line}");
                    family.help = true;
                }
                "TYPE" => {
                    assert!(family.kind.is_empty(), "{line}");
                    assert!(["counter", "gauge", "histogram", "info"].contains(&rest), "{line}");
                    rest.clone_into(&mut family.kind);
                }
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                _ => panic!("unknown comment: {line}"),
            }
            continue;
        }
        let name_end = line.find(['{', ' ']).unwrap();
        let (name, rest) = line.split_at(name_end);
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        assert!(name.chars().all(legal), "{line}");
        let family = families.get_mut(&current).expect("samples come after their TYPE");
        let suffixes: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "gauge" => &[""],
            other => panic!("samples of type {other:?}: {line}"),
        };
        let of_family = |suffix: &&str| format!("{current}{suffix}") == name;
        assert!(suffixes.iter().any(of_family), "{line} is not of {current} ({})", family.kind);
        family.samples += 1;
        let (labels, value) = labels(rest);
        let value: f64 = value.trim_start().parse().unwrap_or_else(|_| panic!("value: {line}"));
        assert!(value.is_finite() && (value >= 0.0 || family.kind == "gauge"), "{line}");
        let names: BTreeSet<_> = labels.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), labels.len(), "a label twice: {line}");
        let mut sorted = labels.clone();
        sorted.sort();
        let twice = series.insert(format!("{name}{sorted:?}"), value);
        assert!(twice.is_none(), "a series twice: {line}");
    }
    (families, series)
}

/// Labels with their values unescaped, and what follows them.
fn labels(text: &str) -> (Vec<(String, String)>, &str) {
    let mut all = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else { return (all, text) };
    while !rest.starts_with('}') {
        let (name, after) = rest.split_once("=\"").expect(text);
        let mut value = String::new();
        let mut end = None;
        let mut characters = after.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    end = Some(at + 1);
                    break;
                }
                '\\' => match characters.next().unwrap().1 {
                    'n' => value.push('\n'),
                    c @ ('"' | '\\') => value.push(c),
                    c => panic!("unknown escape \\{c} in {text}"),
                },
                c => value.push(c),
            }
        }
        all.push((name.to_owned(), value));
        rest = &after[end.expect(text)..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    (all, &rest[1..])
}

/// Buckets never fall, and the last one (`+Inf`) is the count.
fn check_histogram(text: &str, name: &str) {
    let mut last: BTreeMap<String, f64> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix(&format!("{name}_bucket")) {
            let (mut labels, value) = labels(rest);
            let value: f64 = value.trim().parse().unwrap();
            let at = labels.iter().position(|(name, _)| name == "le").expect("le");
            let bound = labels.remove(at).1;
            let before = last.entry(format!("{labels:?}")).or_default();
            assert!(value >= *before, "bucket {bound} falls: {line}");
            *before = value;
        } else if let Some(rest) = line.strip_prefix(&format!("{name}_count")) {
            let (labels, value) = labels(rest);
            let inf = last.get(&format!("{labels:?}")).copied();
            // The count may stand before its buckets.
            if let Some(inf) = inf {
                assert!((inf - value.trim().parse::<f64>().unwrap()).abs() < 1e-9, "{line}");
            }
        }
    }
    assert!(!last.is_empty(), "no buckets of {name}");
}

#[test]
fn every_line_is_openmetrics() {
    if !requires::cgroups("every_line_is_openmetrics") {
        return;
    }
    let server = Server::loopback().unwrap();
    let address = server.address().unwrap();
    let guardd = Guardd::start(config(&[address], &["a", "b"])).unwrap();
    let (families, before) = parse(&guardd.metrics().unwrap());
    for (name, family) in &families {
        assert!(family.help && !family.kind.is_empty(), "{name} lacks HELP or TYPE");
        assert!(name.starts_with("guard_"), "{name}");
    }
    // Counters of pairs are there before the first call, so that rates have a beginning.
    for pair in [("a", "api"), ("a", "other"), ("b", "api"), ("b", "other")] {
        let series =
            format!("guard_connects_total{:?}", [("bulkhead", pair.0), ("destination", pair.1)]);
        assert_eq!(before.get(&series), Some(&0.0), "{series}");
    }

    // The same with calls of several outcomes, a fault, a wait and an ended fault.
    let mut caller = agent(&guardd, "a", &url(address), &[]);
    for behaviour in [
        Behaviour::answer(200, 10),
        Behaviour::answer(503, 0),
        Behaviour::answer(429, 0),
        Behaviour::ResetAfterRequest,
    ] {
        server.set(behaviour);
        caller.call(LIMIT).unwrap();
    }
    let id = inject(&guardd, &["--refuse", "100%"]);
    assert_eq!(caller.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    assert_eq!(guardd.ctl(&["fault", "clear", &id.to_string()]).unwrap().code, 0);
    inject(&guardd, &["--loss", "1%"]);
    server.set(Behaviour::Hang);
    caller.start_call().unwrap();
    let waits = || guardd.ctl_json(&["waits"]).unwrap()["waits"].as_array().unwrap().len();
    wait::until("the wait", LIMIT, || waits() == 1).unwrap();
    let text = guardd.metrics().unwrap();
    let (_, after) = parse(&text);
    check_histogram(&text, "guard_call_seconds");
    assert!(after.len() > before.len());
    let missing: Vec<_> = before.keys().filter(|series| !after.contains_key(*series)).collect();
    assert!(missing.is_empty(), "series must not vanish: {missing:?}");
    let fell: Vec<_> = before
        .iter()
        .filter(|(name, value)| name.contains("_total") && after[*name] < **value)
        .collect();
    assert!(fell.is_empty(), "counters must not fall: {fell:?}");
    drop(caller);
    wait::until("the agent to end", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    guardd.finish().unwrap();
}

/// The parser itself refuses what it should.
#[test]
fn the_parser_is_strict() {
    let good = "# HELP x_y Some.\n# TYPE x_y counter\nx_y_total{a=\"b\\\"\\\\\"} 1\n# EOF\n";
    let (families, series) = parse(good);
    assert_eq!((families.len(), series.len()), (1, 1));
    for (what, bad) in [
        ("no end", good.replace("# EOF\n", "")),
        ("a series twice", good.replace("} 1\n", "} 1\nx_y_total{a=\"b\\\"\\\\\"} 1\n")),
        ("a sample before its type", format!("x_y_total 1\n{good}")),
        ("a counter without _total", good.replace("x_y_total{", "x_y{")),
        ("no number", good.replace("} 1\n", "} one\n")),
        ("a family twice", good.replace("# EOF", "# HELP z z\n# HELP x_y z\n# EOF")),
    ] {
        let refused = std::panic::catch_unwind(|| parse(&bad)).is_err();
        assert!(refused, "{what}:\n{bad}");
    }
}
