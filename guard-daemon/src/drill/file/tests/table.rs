//! The table of keys against what is made of them, and against what `guardctl explain` says.

use super::*;
use crate::config::explain::lookup;
use crate::config::schema::{Entry, Kind, drill_entries};
use crate::net::delay::Distribution;

fn entry(path: &str) -> Entry {
    drill_entries().into_iter().find(|e| e.path == path).unwrap()
}

fn words(path: &str) -> Vec<&'static str> {
    match entry(path).key.kind {
        Kind::Choice(words) => words.to_vec(),
        _ => panic!("{path} is no choice"),
    }
}

/// The words of the table and of faults are the same, so none is refused by guardd.
#[test]
fn every_choice_of_the_table_is_one_of_a_fault() {
    let errnos: Vec<&str> = crate::fault::ERRNOS.iter().map(|(name, _)| *name).collect();
    assert_eq!(words("drill.fault.refuse.errno"), errnos);
    assert_eq!(
        words("drill.fault.latency.distribution"),
        Distribution::ALL.map(Distribution::name)
    );
}

#[test]
fn every_key_belongs_to_a_probe() {
    for key in entry("drill.steady_state").key.children() {
        let name = key.name;
        let of = probes::PROBES
            .iter()
            .filter(|p| p.key == name || p.needs.contains(&name) || p.takes.contains(&name));
        assert!(of.count() > 0 || name == "name", "{name}");
    }
}

#[test]
fn every_key_is_explained() {
    let name = |asked: &str| lookup(asked).map(|t| t.name);
    for asked in ["drill.fault.latency.delay", "latency.delay", "delay", "fault[0].latency.delay"] {
        assert_eq!(name(asked), Ok("drill.fault.latency.delay".into()), "{asked}");
    }
    assert_eq!(name("drill"), Ok("drill".into()));
    assert_eq!(name("[[fault]]"), Ok("drill.fault".into()));
    // Keys of the configuration go first, and a name of two keys is ambiguous.
    assert_eq!(name("cooldown"), Ok("recovery.cooldown".into()));
    assert!(lookup("duration").unwrap_err().ambiguous);
    insta::assert_snapshot!(lookup("drill.fault.latency").unwrap(), @r#"
    drill.fault.latency (key)

      Holds each packet that the bulkhead sends to the service. Two at the same
      time add up with departure times, and are refused with NFQUEUE.

      type     table
      default  no packet is delayed
      change   a drill's file is read anew at each run
      keys     delay, jitter, distribution, per

      Example:
        [[fault]]
        latency = { delay = "300ms", jitter = "50ms", distribution = "normal" }
    "#);
}

/// An example that guard itself would refuse helps nobody.
#[test]
fn examples_of_keys_are_accepted() {
    for entry in drill_entries() {
        let topic = lookup(&entry.path).unwrap();
        let key = entry.key;
        if ["corrupt", "duplicate"].iter().any(|name| entry.path.contains(name)) {
            continue; // There to say why not.
        }
        if key.example.is_empty() {
            assert!(matches!(key.kind, Kind::Table(_) | Kind::List(_)), "{}", entry.path);
            continue;
        }
        let text = match topic.example.split_once('\n') {
            None => format!("{}\n{}", topic.example, without(SMALL, key.name)),
            Some((header, line)) => format!("{SMALL}{header}\n{}{line}\n", around(&entry)),
        };
        if let Err(errors) = parse("example.toml", &text) {
            panic!("{}: {}\n{text}", entry.path, errors.render(false));
        }
    }
}

/// The text without the first line that sets a key.
fn without(text: &str, key: &str) -> String {
    let set = format!("{key} = ");
    let (top, rest) = text.split_once("[[").unwrap();
    let top: Vec<&str> = top.lines().filter(|line| !line.starts_with(&set)).collect();
    format!("{}\n[[{rest}", top.join("\n"))
}

/// What else the table of a key needs, for its example to be right.
fn around(entry: &Entry) -> String {
    let key = entry.key.name;
    let parts: Vec<&str> = entry.path.split('.').collect();
    let mut lines = match parts[1] {
        "fault" => "bulkhead = \"b\"\nservice = \"s\"\nloss.percent = 1\n".to_owned(),
        "abort" if matches!(key, "promql" | "prometheus" | "above" | "below" | "timeout") => {
            let above = if key == "below" { "" } else { "above = 5\n" };
            format!("promql = \"up\"\n{above}")
        }
        "abort" => "bulkhead = \"b\"\nsuccess_rate_below = 0.5\n".to_owned(),
        _ => match key {
            "status" => "http = \"http://a.example\"\n".to_owned(),
            "http" | "command" => String::new(),
            "promql" | "prometheus" | "at_most" => "promql = \"up\"\nat_most = 5\n".to_owned(),
            "at_least" => "promql = \"up\"\n".to_owned(),
            "exit_code" | "timeout" => "command = [\"/bin/true\"]\n".to_owned(),
            "quantile" | "latency_at_most" => {
                "bulkhead = \"b\"\nlatency_at_most = \"1s\"\n".to_owned()
            }
            "breaker" => "bulkhead = \"b\"\nservice = \"s\"\nwhen = [\"after\"]\n".to_owned(),
            _ => "bulkhead = \"b\"\nsuccess_rate_at_least = 0.5\n".to_owned(),
        },
    };
    if key == "blackhole" {
        lines = lines.replace("loss.percent = 1\n", "");
    }
    match parts.as_slice() {
        // The line of the example sets it.
        [_, _, inner, _] => {
            lines = lines.replace("loss.percent = 1\n", "");
            match (*inner, key) {
                ("latency", "distribution") => {
                    lines += "latency.delay = \"1s\"\nlatency.jitter = \"1s\"\n";
                }
                ("latency", "jitter" | "per") => lines += "latency.delay = \"1s\"\n",
                ("loss", "burst") => lines += "loss.percent = 1\n",
                ("share", "of") => lines += "loss.percent = 1\nshare.percent = 1\n",
                ("share", "percent") => lines += "loss.percent = 1\nshare.of = \"calls\"\n",
                ("pulse", "on") => lines += "loss.percent = 1\npulse.off = \"1s\"\n",
                ("pulse", "off") => lines += "loss.percent = 1\npulse.on = \"1s\"\n",
                _ => {}
            }
            lines
        }
        _ if key == "loss" => lines.replace("loss.percent = 1\n", ""),
        _ => lines
            .lines()
            .filter(|l| !l.starts_with(&format!("{key} = ")))
            .fold(String::new(), |all, line| all + line + "\n"),
    }
}

#[test]
fn the_table_is_sound() {
    for entry in drill_entries() {
        assert!(entry.enforced, "{}", entry.path);
        assert!(entry.key.doc.ends_with('.') && entry.key.doc.is_ascii(), "{}", entry.path);
    }
    // A default that is out of range would be an error in every file.
    assert!(parse("drill.toml", SMALL).is_ok());
}
