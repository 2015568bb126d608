//! Right files and what becomes of them.

use std::time::Duration;

use super::*;
use crate::plan::{CgroupRoot, Endpoint, EndpointHost, Fail, Mode, OnExit, Protocol, ServiceClass};

fn plan(text: &str) -> Plan {
    parse("guard.toml", text).unwrap_or_else(|e| panic!("{}", e.render(false))).plan
}

#[test]
fn an_empty_file_is_all_defaults_and_a_warning() {
    let loaded = parse("guard.toml", "").unwrap();
    let daemon = &loaded.plan.daemon;
    assert_eq!(daemon.mode, Mode::Enforce);
    assert_eq!(daemon.state_dir, Path::new("/var/lib/guard"));
    assert_eq!(daemon.control_socket, Path::new("/run/guard/guardd.sock"));
    assert_eq!(daemon.metrics_listen, "127.0.0.1:9729".parse().ok());
    assert_eq!(daemon.cgroup_root, CgroupRoot::Auto);
    assert_eq!(daemon.fault_lease, Duration::from_secs(2));
    assert_eq!(daemon.on_exit, OnExit::Detach);
    assert_eq!((daemon.fail, daemon.heartbeat_timeout), (Fail::Static, Duration::from_secs(30)));
    assert_eq!(daemon.protected, ["169.254.169.254/32".parse().unwrap()]);
    assert!(loaded.plan.services.is_empty() && loaded.plan.bulkheads.is_empty());
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("no bulkhead is configured"), "{warnings:?}");
}

#[test]
fn schedules_arrive_with_their_defaults() {
    use crate::schedule::{Missed, Overlap, Rules};
    let plan = plan(
        r#"
        [daemon]
        state_dir = "/srv/guard"
        [[schedule]]
        name = "b"
        drill = "/nowhere/b.toml"
        calendar = "0 10 * * MON-FRI"
        [[schedule]]
        name = "a"
        drill = "/nowhere/a.toml"
        calendar = "@daily"
        window = "5m"
        overlap = "wait"
        missed = "run_once"
        out = "/srv/results"
        enabled = false
        "#,
    );
    let [b, a] = plan.schedules.as_slice() else { panic!("{plan:?}") };
    assert_eq!((b.name.as_str(), b.calendar.text()), ("b", "0 10 * * MON-FRI"));
    assert_eq!((b.out.as_path(), b.enabled), (Path::new("/srv/guard/drills"), true));
    let half_an_hour = Duration::from_mins(30);
    let rules = Rules { window: half_an_hour, overlap: Overlap::Skip, missed: Missed::Skip };
    assert_eq!(b.rules, rules);
    assert_eq!((a.out.as_path(), a.enabled), (Path::new("/srv/results"), false));
    let window = Duration::from_mins(5);
    let rules = Rules { window, overlap: Overlap::Wait, missed: Missed::RunOnce };
    assert_eq!(a.rules, rules);
}

#[test]
fn a_schedule_without_its_drill_is_a_warning_and_a_name_twice_an_error() {
    let one = "[[schedule]]\nname = \"a\"\ndrill = \"/nowhere/a.toml\"\ncalendar = \"@daily\"\n";
    let text = format!("[bulkheads.a]\n{one}");
    let warnings = parse("guard.toml", &text).unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].key, "schedule[0].drill");
    assert_eq!(
        brief(&format!("{one}{one}")),
        ["6:8 schedule[1].name: two schedules have the name `a`"]
    );
}

#[test]
fn every_value_arrives() {
    let plan = plan(
        r#"
        [daemon]
        mode = "monitor"
        state_dir = "/srv/guard"
        control_socket = "/run/g.sock"
        metrics_listen = "off"
        cgroup_root = "/sys/fs/cgroup/agents.slice"
        fault_lease = "750ms"
        on_exit = "keep"
        fail = "open"
        heartbeat_timeout = "10s"
        protected = ["10.0.0.0/8", "192.0.2.7", "::1", "fd00::/8", "::ffff:198.51.100.4"]
        [services.zeta]
        endpoints = ["API.Example.COM:443", "example.org", "192.0.2.1:80", "10.1.0.0/16:8080",
            "10.0.0.0/8", "[2001:db8::/32]:443", "[::1]:8080", "[::1]", "[::ffff:192.0.2.9]:1"]
        class = "llm_local"
        protocol = "http"
        [services.1a]
        endpoints = ["localhost:65535"]
        [bulkheads.research]
        cgroup = "agents.slice/agents-research.slice/docker-0123.scope"
        [bulkheads.a_b-c]
        "#,
    );
    let daemon = &plan.daemon;
    assert_eq!(daemon.mode, Mode::Monitor);
    assert_eq!(daemon.state_dir, Path::new("/srv/guard"));
    assert_eq!(daemon.control_socket, Path::new("/run/g.sock"));
    assert_eq!(daemon.metrics_listen, None);
    assert_eq!(daemon.cgroup_root, CgroupRoot::Path("/sys/fs/cgroup/agents.slice".into()));
    assert_eq!(daemon.fault_lease, Duration::from_millis(750));
    assert_eq!(daemon.on_exit, OnExit::Keep);
    assert_eq!((daemon.fail, daemon.heartbeat_timeout), (Fail::Open, Duration::from_secs(10)));
    let protected: Vec<String> = daemon.protected.iter().map(ToString::to_string).collect();
    let wanted = ["10.0.0.0/8", "192.0.2.7/32", "::1/128", "fd00::/8", "198.51.100.4/32"];
    assert_eq!(protected, wanted);
    // By name.
    assert_eq!(plan.services[0].name, "1a");
    let zeta = plan.service("zeta").unwrap();
    assert_eq!((zeta.class, zeta.protocol), (ServiceClass::LlmLocal, Protocol::Http));
    let name = |name: &str| EndpointHost::Name(name.into());
    let net = |net: &str| EndpointHost::Net(net.parse().unwrap());
    let wanted = [
        (name("api.example.com"), Some(443)),
        (name("example.org"), None),
        (net("192.0.2.1/32"), Some(80)),
        (net("10.1.0.0/16"), Some(8080)),
        (net("10.0.0.0/8"), None),
        (net("2001:db8::/32"), Some(443)),
        (net("::1/128"), Some(8080)),
        (net("::1/128"), None),
        (net("192.0.2.9/32"), Some(1)),
    ];
    assert_eq!(zeta.endpoints, wanted.map(|(host, port)| Endpoint { host, port }));
    assert_eq!(plan.bulkhead("a_b-c").unwrap().cgroup, Path::new("a_b-c"));
    let research = Path::new("agents.slice/agents-research.slice/docker-0123.scope");
    assert_eq!(plan.bulkhead("research").unwrap().cgroup, research);
}

/// The words of the table and of the plan are the same, so none is silently another.
#[test]
fn every_choice_of_the_table_is_one_of_the_plan() {
    let words = |path: &str| {
        let entry = schema::entries().into_iter().find(|e| e.path == path).unwrap();
        let schema::Kind::Choice(words) = entry.key.kind else { panic!("{path} is no choice") };
        words.to_vec()
    };
    let names: Vec<&str> = Mode::ALL.iter().map(|c| c.name()).collect();
    assert_eq!(words("daemon.mode"), names);
    let names: Vec<&str> = OnExit::ALL.iter().map(|c| c.name()).collect();
    assert_eq!(words("daemon.on_exit"), names);
    let names: Vec<&str> = Fail::ALL.iter().map(|c| c.name()).collect();
    assert_eq!(words("daemon.fail"), names);
    let names: Vec<&str> = ServiceClass::ALL.iter().map(|c| c.name()).collect();
    assert_eq!(words("services.NAME.class"), names);
    let names: Vec<&str> = Protocol::ALL.iter().map(|c| c.name()).collect();
    assert_eq!(words("services.NAME.protocol"), names);
}

#[test]
fn an_inert_table_warns_once() {
    let text = "[bulkheads.a]\ntoken_budget = { tokens = 3, per = \"30s\" }\n";
    let warnings = parse("guard.toml", text).unwrap().warnings;
    let lines: Vec<&str> = warnings.iter().map(|w| w.message.as_str()).collect();
    assert_eq!(lines, ["`bulkheads.a.token_budget` is accepted but not enforced by this version"]);
}

#[test]
fn metrics_beyond_loopback_earn_a_warning() {
    let text = "[daemon]\nmetrics_listen = \"0.0.0.0:9729\"\n[bulkheads.a]\n";
    let warnings = parse("guard.toml", text).unwrap().warnings;
    let lines: Vec<String> = warnings.iter().map(|w| format!("{:?} {}", w.line, w.key)).collect();
    assert_eq!(lines, ["Some(2) daemon.metrics_listen"]);
    for fine in ["127.0.0.1:1", "127.9.9.9:0", "[::1]:9729", "[::ffff:127.0.0.1]:9729"] {
        let text = format!("[daemon]\nmetrics_listen = \"{fine}\"\n[bulkheads.a]\n");
        assert!(parse("guard.toml", &text).unwrap().warnings.is_empty(), "{fine}");
    }
}

#[test]
fn bulkheads_side_by_side_are_no_overlap() {
    // "a-b" sorts between "a" and "a/b" as text, but not as a path.
    plan("bulkheads.x.cgroup = \"a/b\"\nbulkheads.y.cgroup = \"a-b\"\nbulkheads.z.cgroup = \"ab\"");
    plan("bulkheads.x.cgroup = \"r/a\"\nbulkheads.y.cgroup = \"r/ab\"");
}

#[test]
fn a_pattern_has_a_cgroup_of_its_own_besides() {
    let text = "[bulkheads.units]\ncgroup = \"/system.slice/*.service\"\nowner = \"alice\"\n\
                orphans = { action = \"end\", after = \"5s\" }";
    let bulkhead = &plan(text).bulkheads[0];
    assert_eq!(bulkhead.cgroup.to_str(), Some("units"));
    assert_eq!(bulkhead.pattern.as_deref(), Some("/system.slice/*.service"));
    assert_eq!(bulkhead.owner.as_deref(), Some("alice"));
    let orphans = bulkhead.orphans;
    assert_eq!((orphans.after.as_secs(), orphans.grace.as_secs(), orphans.end), (5, 10, true));
    // Which bears its name, and must not be another's; nor may patterns meet.
    let same = "bulkheads.a.cgroup = \"/x/*\"\nbulkheads.b.cgroup = \"a\"";
    assert!(brief(same)[0].contains("have the same cgroup"), "{:?}", brief(same));
    let both = "bulkheads.a.cgroup = \"/x/*\"\nbulkheads.b.cgroup = \"/x/y\"";
    assert!(brief(both)[0].contains("both bulkhead `a` and bulkhead `b`"), "{:?}", brief(both));
}

/// A wrong cgroup is one error: the bulkhead's name is not taken in its place.
#[test]
fn a_wrong_cgroup_overlaps_with_nothing() {
    let text = "bulkheads.agents.cgroup = \"x/../y\"\nbulkheads.b.cgroup = \"agents/b\"";
    assert_eq!(brief(text).len(), 1, "{:?}", brief(text));
}

#[test]
fn four_thousand_bulkheads_and_services_are_read_in_a_blink() {
    let entry = |n: usize| {
        let (high, low) = (n / 256, n % 256);
        format!(
            "[bulkheads.b{n}]\ncgroup = \"agents/b{n}\"\n\
             [services.s{n}]\nendpoints = [\"10.{high}.{low}.0/24:443\"]\n"
        )
    };
    let mut text = (0..schema::MAX_BULKHEADS).map(entry).collect::<Vec<_>>().concat();
    let started = std::time::Instant::now();
    assert_eq!(plan(&text).bulkheads.len(), schema::MAX_BULKHEADS);
    // Generous: it is a debug build on a busy machine.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    text += "[bulkheads.more]\n[services.more]\nendpoints = [\"a.example\"]\n";
    let errors = brief(&text);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].contains("`bulkheads` has 4097 entries"), "{errors:?}");
}
