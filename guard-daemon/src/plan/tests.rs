use super::*;

fn plan(text: &str) -> Plan {
    crate::config::parse("guard.toml", text).unwrap_or_else(|e| panic!("{}", e.render(false))).plan
}

const OLD: &str = r#"
[daemon]
protected = ["10.0.0.0/8", "192.0.2.1"]
[services.github]
endpoints = ["api.github.com:443", "192.0.2.0/24:80"]
[services.gone]
endpoints = ["[::1]:80"]
[bulkheads.a]
[bulkheads.b]
cgroup = "agents/b"
"#;

#[test]
fn the_same_plan_has_no_difference() {
    assert!(diff(&plan(OLD), &plan(OLD)).is_empty());
    // The order of endpoints and of protected addresses has no meaning.
    let turned =
        OLD.replace(r#""10.0.0.0/8", "192.0.2.1""#, r#""192.0.2.1", "10.0.0.0/8""#).replace(
            r#""api.github.com:443", "192.0.2.0/24:80""#,
            r#""192.0.2.0/24:80", "API.github.com:443""#,
        );
    assert!(diff(&plan(OLD), &plan(&turned)).is_empty());
}

#[test]
fn schedules_that_differ_are_said() {
    let one = |name: &str, more: &str| {
        let drill = "drill = \"/nowhere\"\ncalendar = \"@daily\"";
        format!("[[schedule]]\nname = \"{name}\"\n{drill}\n{more}\n")
    };
    let old = plan(&(one("same", "") + &one("gone", "") + &one("off", "")));
    let new = plan(&(one("same", "") + &one("off", "enabled = false") + &one("new", "")));
    let changes = [
        "schedule gone removed",
        "schedule off changed: not enabled",
        "schedule new added: @daily",
    ];
    assert_eq!(diff(&old, &new).changes, changes);
    assert!(diff(&old, &old).is_empty());
}

#[test]
fn every_change_is_said_where_it_belongs() {
    let new = r#"
        [daemon]
        mode = "monitor"
        state_dir = "/srv/guard"
        control_socket = "/run/g.sock"
        metrics_listen = "off"
        cgroup_root = "/sys/fs/cgroup/x"
        fault_lease = "500ms"
        on_exit = "keep"
        protected = ["10.0.0.0/8", "::1"]
        [services.github]
        endpoints = ["api.github.com:443", "[2001:db8::/32]:80"]
        class = "tool"
        protocol = "tls"
        [services.new]
        endpoints = ["localhost"]
        [bulkheads.b]
        cgroup = "agents/c"
        [bulkheads.d]
    "#;
    let found = diff(&plan(OLD), &plan(new));
    let changes = [
        "daemon.mode: enforce -> monitor",
        "daemon.fault_lease: 2s -> 500ms",
        "daemon.protected: +::1, -192.0.2.1",
        "service gone removed: its destinations become `other`",
        "service github: endpoints +[2001:db8::/32]:80, -192.0.2.0/24:80",
        "service github: class generic -> tool",
        "service github: protocol auto -> tls",
        "service new added: localhost",
        "bulkhead a removed: the processes in a are no longer guarded",
        "bulkhead b: cgroup agents/b -> agents/c (processes in the old one stay there, unguarded)",
        "bulkhead d added: cgroup d",
    ];
    assert_eq!(found.changes, changes);
    let needs_restart = [
        "daemon.state_dir: /var/lib/guard -> /srv/guard",
        "daemon.control_socket: /run/guard/guardd.sock -> /run/g.sock",
        "daemon.metrics_listen: 127.0.0.1:9729 -> off",
        "daemon.cgroup_root: auto -> /sys/fs/cgroup/x",
        "daemon.on_exit: detach -> keep",
    ];
    assert_eq!(found.needs_restart, needs_restart);
}

#[test]
fn breakers_and_timeouts_are_compared_setting_by_setting() {
    let breaker = |defaults: &str, own: &str| {
        format!("{OLD}breaker.services.github = {{ {own} }}\n[defaults.breaker]\n{defaults}\n")
    };
    let old = breaker("failure_threshold = 3\nopen_timeout = \"5s\"", "errno = \"EPERM\"");
    let new = breaker("failure_threshold = 4\nbackoff = 2", "errno = \"EPERM\", mode = \"off\"")
        .replace("[bulkheads.a]", "[bulkheads.a]\ncall_timeout = \"9s\"");
    let changes = [
        "bulkhead a: call_timeout default -> 9s",
        "defaults.breaker: failure_threshold 3 -> 4",
        "defaults.breaker: open_timeout 5s -> default",
        "defaults.breaker: backoff default -> 2",
        "breaker b/github: mode default -> off",
    ];
    assert_eq!(diff(&plan(&old), &plan(&new)).changes, changes);
}

#[test]
fn hygiene_and_timeouts_are_compared_setting_by_setting() {
    let old = format!("{OLD}[defaults.hygiene]\npeer_closed = \"5s\"\n");
    let new = format!("{OLD}timeouts.services.github = {{ stall_warn = \"1m\" }}\n[defaults.hygiene]\nmode = \"off\"\n")
        .replace("[services.github]", "[services.github]\nconnect_timeout = \"2s\"\nhygiene.sweep = \"off\"");
    let changes = [
        "service github: connect_timeout default -> 2s",
        "service github: hygiene.sweep default -> off",
        "timeouts b/github: stall_warn default -> 1m",
        "defaults: hygiene.mode default -> off",
        "defaults: hygiene.peer_closed 5s -> default",
    ];
    assert_eq!(diff(&plan(&old), &plan(&new)).changes, changes);
}
