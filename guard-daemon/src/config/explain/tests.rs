use super::super::schema::{Key, Reload, entries};
use super::*;

#[test]
fn every_topic_explains_itself() {
    for name in topics() {
        let topic = lookup(&name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(topic.name, name);
        assert!(topic.summary.ends_with('.'), "{name}: {}", topic.summary);
        let text = topic.to_string();
        assert!(text.is_ascii(), "{text}");
        assert!(text.lines().all(|l| l.len() <= 100), "{text}");
        let json = serde_json::to_value(&topic).unwrap();
        assert_eq!(json["schema"], "guard.explain/1");
        assert_eq!(json["name"], name.as_str());
    }
}

#[test]
fn keys_are_found_by_path_by_real_names_and_by_their_end() {
    let name = |asked: &str| lookup(asked).map(|t| t.name);
    let memory = Ok("bulkheads.NAME.memory_max".to_owned());
    assert_eq!(name("bulkheads.NAME.memory_max"), memory);
    assert_eq!(name("bulkheads.research.memory_max"), memory);
    assert_eq!(name("memory_max"), memory);
    assert_eq!(name("`memory_max`"), memory);
    assert_eq!(name("[bulkheads.research]"), Ok("bulkheads".into()));
    assert_eq!(name("token_budget.per"), Ok("bulkheads.NAME.token_budget.per".into()));
    assert_eq!(name("recovery[0].when.bulkhead"), Ok("recovery.when.bulkhead".into()));
    assert_eq!(
        name("bulkheads.research.breaker.services.github.errno"),
        Ok("bulkheads.NAME.breaker.services.NAME.errno".into())
    );
    // The same key of two tables is one topic.
    assert_eq!(name("failure_threshold"), Ok("defaults.breaker.failure_threshold".into()));
}

#[test]
fn the_name_of_a_table_may_be_left_out() {
    let name = |asked: &str| lookup(asked).unwrap().name;
    assert_eq!(name("bulkheads.budgets"), "bulkheads.NAME.budgets");
    assert_eq!(name("bulkheads.research.budgets"), "bulkheads.NAME.budgets");
    assert_eq!(name("bulkheads.research"), "bulkheads");
}

#[test]
fn an_ambiguous_name_lists_what_it_may_mean() {
    let error = lookup("mode").unwrap_err();
    assert!(error.ambiguous);
    assert_eq!(
        error.suggestions,
        [
            "daemon.mode",
            "services.NAME.hygiene.mode",
            "defaults.breaker.mode",
            "defaults.storms.mode"
        ]
    );
    assert_eq!(explain("mode"), None);
}

#[test]
fn an_unknown_topic_suggests_near_ones() {
    let error = lookup("memory_mx").unwrap_err();
    assert!(!error.ambiguous);
    // The end of a path counts as much as the whole.
    assert_eq!(lookup("budget").unwrap_err().suggestions[0], "bulkheads.NAME.budgets");
    assert!(lookup("unacknowleged").unwrap_err().to_string().contains("unacknowledged"));
    assert_eq!(lookup("exit codes").unwrap().kind, "exit-codes");
    assert_eq!(lookup("exit_code").unwrap().name, "drill.steady_state.exit_code");
    for odd in ["", ".", "..", "[", "\"", "NAME", "foo.bar.baz", "\u{1F980}"] {
        assert!(lookup(odd).is_err(), "{odd:?}");
    }
}

#[test]
fn words_of_guard_are_all_there() {
    for outcome in guard_common::abi::outcome::Outcome::ALL {
        assert_eq!(lookup(outcome.name()).unwrap().kind, "outcome");
    }
    for class in crate::plan::ServiceClass::ALL {
        let topic = lookup(class.name()).unwrap();
        assert_eq!(topic.kind, "class");
        assert!(topic.to_string().contains("(stall_warn)"), "{topic}");
    }
    for state in
        ["connecting", "paced", "first_byte", "quiet", "unacknowledged", "peer_closed", "stalled"]
    {
        assert_eq!(lookup(state).unwrap().kind, "wait");
    }
    assert_eq!(lookup("exit-codes").unwrap().facts.len(), 6);
}

#[test]
fn a_key_says_its_default_range_and_what_a_change_needs() {
    insta::assert_snapshot!(explain("fault_lease").unwrap(), @r#"
    daemon.fault_lease (key)

      How long an injected fault outlives the daemon's last sign of life. The
      kernel checks it at each packet, so a killed, hung or stopped daemon leaves
      no fault behind for longer than this. Shorter is safer, but a busy host may
      then end faults early.

      type     duration such as "250ms", "60s", "5m", "1h"
      default  "2s"
      range    500ms to 1m
      change   guardctl reload applies it

      Example:
        [daemon]
        fault_lease = "2s"
    "#);
    insta::assert_snapshot!(explain("bulkheads.research.memory_max").unwrap(), @r#"
    bulkheads.NAME.memory_max (key)

      Memory that the bulkhead may use (memory.max); above it the kernel reclaims,
      then kills inside it.

      type     size such as "512MiB", "2GiB"
      default  no limit
      range    1MiB to 1024TiB
      change   guardctl reload applies it

      Example:
        [bulkheads.research]
        memory_max = "2GiB"
    "#);
}

/// An example that guard itself would refuse helps nobody.
#[test]
fn examples_of_keys_are_accepted() {
    const AROUND: &str = "[services.github]\nendpoints = [\"api.github.com:443\"]\n\
                          [bulkheads.research]\n";
    for entry in entries() {
        let example = lookup(&entry.path).unwrap().example;
        if example.is_empty() {
            continue;
        }
        // What else the table needs, and what else the file needs.
        let (header, line) = example.split_once('\n').unwrap();
        let others: Vec<String> = siblings(&entry.path)
            .iter()
            .filter(|k| k.default == super::super::schema::Absent::Required)
            .filter(|k| !line.starts_with(&format!("{} =", k.name)))
            .map(|k| match k.name {
                "when" => "when = {}\n".to_owned(),
                name => format!("{name} = {}\n", k.example),
            })
            .collect();
        let others = others.concat();
        let text = match header {
            "[services.github]" => format!("{header}\n{others}{line}\n[bulkheads.research]\n"),
            "[bulkheads.research]" => format!("{AROUND}{line}\n"),
            "[[recovery]]" => {
                let mut rule = String::from("[[recovery]]\n");
                for needed in ["name = \"a\"", "when = {}", "steps = [ { thaw = {} } ]"] {
                    let key = needed.split(' ').next().unwrap();
                    if !line.starts_with(key) {
                        rule.push_str(needed);
                        rule.push('\n');
                    }
                }
                format!("{AROUND}{rule}{line}\n")
            }
            "[[bulkheads.research.budgets]]" if !line.starts_with("calls") => {
                format!("{AROUND}{header}\n{others}calls = 1000\n{line}\n")
            }
            "[[bulkheads.research.io_max]]" if line.starts_with("device") => {
                format!("{AROUND}{header}\n{line}\nriops = 1\n")
            }
            header if header.starts_with("[agents.research") => {
                // What an agent needs, and what its examples name.
                let own = match header {
                    "[agents.research]" => String::new(),
                    _ => "[agents.research]\ncommand = [\"/bin/agent\"]\n".to_owned(),
                };
                format!(
                    "{AROUND}[bulkheads.db-proxy]\n[agents.db-proxy]\ncommand = [\"/bin/db\"]\n\
                     [retry_policies.network_error]\nmax_retries = 5\n{own}{header}\n{others}{line}\n"
                )
            }
            _ => format!("{AROUND}{header}\n{others}{line}\n"),
        };
        if let Err(errors) = super::super::parse("example.toml", &text) {
            panic!("{}: {}\n{text}", entry.path, errors.render(false));
        }
    }
}

fn siblings(path: &str) -> Vec<&'static Key> {
    let table = path.rsplit_once('.').map_or("", |(table, _)| table);
    let depth = path.matches('.').count();
    let all = entries();
    let same = |e: &&super::super::schema::Entry| {
        e.path.starts_with(table) && e.path.matches('.').count() == depth
    };
    all.iter().filter(same).map(|e| e.key).collect()
}

#[test]
fn what_needs_a_restart_says_so() {
    let restart: Vec<String> = entries()
        .into_iter()
        .filter(|e| e.key.reload == Reload::Restart)
        .map(|e| e.key.name.to_owned())
        .collect();
    let wanted = ["state_dir", "control_socket", "metrics_listen", "cgroup_root", "on_exit"];
    assert_eq!(restart, wanted);
    assert!(explain("state_dir").unwrap().contains("needs a restart of guardd"));
}
