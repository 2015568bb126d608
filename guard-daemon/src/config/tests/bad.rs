//! Wrong files and what is said about them.

use super::*;

#[test]
fn everything_wrong_is_said_at_once_in_the_order_of_the_file() {
    let text = include_str!("many.toml");
    insta::assert_snapshot!(brief(text).join("\n"), @r#"
    2:8 daemon.mode: `daemon.mode` cannot be "enforc"
    3:13 daemon.state_dir: `daemon.state_dir` must be an absolute path, not "var/lib"
    4:15 daemon.fault_lease: `daemon.fault_lease` needs a unit
    5:14 daemon.protected: `daemon.protected` has bits set beyond its prefix length: "10.0.0.1/8"
    5:28 daemon.protected: `daemon.protected` is not an address or a network: "foo"
    5:35 daemon.protected[2]: `daemon.protected[2]` must be a text, not a whole number
    6:1 daemon.colour: unknown key `daemon.colour`
    8:11 services.other: the service name `other` is reserved
    10:11 services.Git: `services.Git` is not a valid name
    11:13 services.Git.endpoints: `services.Git.endpoints` is empty
    12:9 services.Git.class: `services.Git.class` cannot be "lm"
    14:36 services.github.endpoints: `services.github.endpoints` is a URL, not an endpoint: "https://x.example/"
    14:58 services.github.endpoints: `services.github.endpoints` has an IPv6 address without brackets
    14:65 services.github.endpoints: `services.github.endpoints` has a bad port `0`
    14:75 services.github.endpoints: `services.github.endpoints` is not a host name: "*.example.com": a wildcard cannot be resolved
    15:1 services.github.memory_max: unknown key `services.github.memory_max`
    19:14 bulkheads.research.memory_max: `bulkheads.research.memory_max` has an unknown unit `GB`
    20:11 bulkheads.research.retries.window: `bulkheads.research.retries.window` is missing
    21:62 bulkheads.research.token_budget.on_exhausted: `bulkheads.research.token_budget.on_exhausted` cannot be "blok"
    22:18 bulkheads.research.breaker.services.githb: `bulkheads.research.breaker.services.githb`: there is no service `githb`
    22:28 bulkheads.research.breaker.services.githb.failure_treshold: unknown key `bulkheads.research.breaker.services.githb.failure_treshold`
    22:58 bulkheads.research.breaker.services.githb.errno: `bulkheads.research.breaker.services.githb.errno` cannot be "EWHAT"
    22:79 bulkheads.research.breaker.services.githb.open_pool: `bulkheads.research.breaker.services.githb.open_pool` must be one of "keep", "cut_idle", "cut_all", not a whole number
    26:10 bulkheads.x.cgroup: `bulkheads.x.cgroup` must not contain `..`
    30:21 recovery[0].when.bulkhead: `recovery[0].when.bulkhead`: there is no bulkhead `resarch`
    30:73 recovery[0].when.success_rate_below: `recovery[0].when.success_rate_below` is 1.8, out of range
    31:13 recovery[0].steps[0].reset_limit: unknown key `recovery[0].steps[0].reset_limit`
    31:43 recovery[0].steps[1].exec: `recovery[0].steps[1].exec` must start with an absolute path, not "clear-cache"
    31:73 recovery[0].steps[2].restart: `recovery[0].steps[2].restart`: there is no bulkhead `nobody`
    32:1 recovery[1].when: `recovery[1].when` is missing
    33:8 recovery[1].name: two recovery rules have the name `a`
    34:9 recovery[1].steps: `recovery[1].steps` is empty
    "#);
}

#[test]
fn unknown_key() {
    insta::assert_snapshot!(errors("[bulkheads.a]\nmemry_max = \"2GiB\"\n"), @r#"
      error: unknown key `bulkheads.a.memry_max`
       ,-[guard.toml:2:1]
     1 | [bulkheads.a]
     2 | memry_max = "2GiB"
       : ^^^^|^^^^
       :     `-- not a key of `bulkheads.a`
       `----
      help: did you mean `memory_max`? keys: breaker, budgets, call_timeout, cgroup, connect_timeout, cpu_max, cpu_weight, io_max, io_weight, limits, max_calls_burst, max_calls_per_second, max_connections, memory_high, memory_max, memory_oom_group, memory_swap_max, orphans, owner, pacing_max_delay, pids_max, pressure, retries, sockets, stall_warn, timeouts, token_budget

    1 error, 0 warnings in guard.toml
    "#);
}

#[test]
fn wrong_unit() {
    insta::assert_snapshot!(errors("[daemon]\nfault_lease = 2\n"), @r#"
      error: `daemon.fault_lease` needs a unit
       ,-[guard.toml:2:15]
     1 | [daemon]
     2 | fault_lease = 2
       :               |
       :               `-- a number without a unit
       `----
      help: write "2s" for seconds, "2ms" for milliseconds; units are "ms", "s", "m" and "h"

    1 error, 0 warnings in guard.toml
    "#);
    insta::assert_snapshot!(errors("[daemon]\nfault_lease = \"100ms\"\n"), @r#"
      error: `daemon.fault_lease` is 100ms, out of range
       ,-[guard.toml:2:15]
     1 | [daemon]
     2 | fault_lease = "100ms"
       :               ^^^|^^^
       :                  `-- must be 500ms to 1m
       `----
      help: allowed: 500ms to 1m

    1 error, 0 warnings in guard.toml
    "#);
}

#[test]
fn overlapping_cgroups() {
    // One inside another is none, as deep as the hooks remember.
    let nested = |depth: usize| {
        let names = ["a", "b", "c", "d", "e", "f"];
        let one = |(at, name): (usize, &&str)| {
            format!("[bulkheads.{name}]\ncgroup = \"{}\"\n", names[..=at].join("/"))
        };
        names[..depth].iter().enumerate().map(one).collect::<String>()
    };
    assert_eq!(brief(&nested(5)), [""; 0]);
    let inside =
        "bulkhead `f` lies inside 5 others: `e` inside `d` inside `c` inside `b` inside `a`";
    assert_eq!(brief(&nested(6)), [format!("12:10 bulkheads.f.cgroup: {inside}")]);
    insta::assert_snapshot!(errors("[bulkheads.a]\n[bulkheads.b]\ncgroup = \"a\"\n"), @r#"
      error: bulkheads `a` and `b` have the same cgroup
       ,-[guard.toml:3:10]
     1 | [bulkheads.a]
       :            |
       :            `-- "a" (its name, by default)
     2 | [bulkheads.b]
     3 | cgroup = "a"
       :          ^|^
       :           `-- "a"
       `----
      help: give each bulkhead a cgroup of its own, beside the other or inside it

    1 error, 0 warnings in guard.toml
    "#);
}

#[test]
fn host_bits() {
    insta::assert_snapshot!(errors("[services.a]\nendpoints = [\"10.1.2.3/16:80\"]\n"), @r#"
      error: `services.a.endpoints` has bits set beyond its prefix length: "10.1.2.3/16"
       ,-[guard.toml:2:14]
     1 | [services.a]
     2 | endpoints = ["10.1.2.3/16:80"]
       :              ^^^^^^^^|^^^^^^^
       :                      `-- host bits set
       `----
      help: write "10.1.0.0/16:80", or leave the `/` out for the one address

    1 error, 0 warnings in guard.toml
    "#);
}

#[test]
fn the_same_endpoint_twice() {
    insta::assert_snapshot!(errors("[services.a]\nendpoints = [\"x.example:1\", \"X.example:1\"]\n[services.b]\nendpoints = [\"x.example:1\"]\n"), @r#"
      error: endpoint "x.example:1" is listed twice in service `a`
       ,-[guard.toml:2:29]
     1 | [services.a]
     2 | endpoints = ["x.example:1", "X.example:1"]
       :              ^^^^^^|^^^^^^  ^^^^^^|^^^^^^
       :                    |              `-- again
       :                    `-- first here
     3 | [services.b]
       `----
      help: remove one of the two

      error: endpoint "x.example:1" is in service `a` and in service `b`
       ,-[guard.toml:4:14]
     1 | [services.a]
     2 | endpoints = ["x.example:1", "X.example:1"]
       :              ^^^^^^|^^^^^^
       :                    `-- first here
     3 | [services.b]
     4 | endpoints = ["x.example:1"]
       :              ^^^^^^|^^^^^^
       :                    `-- again
       `----
      help: a destination belongs to one service: remove it from one of the two

    2 errors, 0 warnings in guard.toml
    "#);
}

#[test]
fn missing_quotes_do_not_hide_what_follows() {
    insta::assert_snapshot!(errors("[bulkheads.a]\nmemory_max = 2GiB\n[daemon]\nmoode = 1\n"), @r#"
      error: not valid TOML: this value needs quotes
       ,-[guard.toml:2:14]
     1 | [bulkheads.a]
     2 | memory_max = 2GiB
       :              ^^|^
       :                `-- here
     3 | [daemon]
       `----
      help: put quotes around words, durations, sizes and paths: "2GiB"

      error: unknown key `daemon.moode`
       ,-[guard.toml:4:1]
     3 | [daemon]
     4 | moode = 1
       : ^^|^^
       :   `-- not a key of `daemon`
       `----
      help: did you mean `mode`? keys: cgroup_root, control_socket, fail, fault_lease, heartbeat_timeout, metrics_listen, mode, on_exit, protected, state_dir, strict

    2 errors, 0 warnings in guard.toml
    "#);
}

#[test]
fn a_table_twice() {
    insta::assert_snapshot!(errors("[bulkheads.a]\ncgroup = \"x\"\n\n[bulkheads.a]\n"), @r#"
      error: table `[bulkheads.a]` is defined twice
       ,-[guard.toml:4:12]
     1 | [bulkheads.a]
       : ^^^^^^|^^^^^^
       :       `-- first here
     2 | cgroup = "x"
     3 | 
     4 | [bulkheads.a]
       :            |
       :            `-- again
       `----
      help: put all keys of the table below one header

    1 error, 0 warnings in guard.toml
    "#);
}

#[test]
fn an_unclosed_table_hides_what_follows() {
    insta::assert_snapshot!(errors("[daemon]\nmode = 1\n[services.a\nfoo = 1\n"), @r#"
      error: `daemon.mode` must be one of "enforce", "monitor", not a whole number
       ,-[guard.toml:2:8]
     1 | [daemon]
     2 | mode = 1
       :        |
       :        `-- wrong type
     3 | [services.a
       `----
      help: for example `mode = "monitor"`

      error: not valid TOML: unclosed table, expected `]`
       ,-[guard.toml:3:12]
     2 | mode = 1
     3 | [services.a
       :            ^
       :            `-- here
     4 | foo = 1
       `----
      help: a line is `key = value`, `[table]` or `# comment`

    2 errors, 0 warnings in guard.toml
    "#);
}

#[test]
fn unknown_names() {
    insta::assert_snapshot!(errors("[services.github]\nendpoints = [\"a.example\"]\n[bulkheads.a]\nbreaker.services.githb = {}\n"), @"
      error: `bulkheads.a.breaker.services.githb`: there is no service `githb`
       ,-[guard.toml:4:18]
     3 | [bulkheads.a]
     4 | breaker.services.githb = {}
       :                  ^^|^^
       :                    `-- unknown service
       `----
      help: did you mean `github`? defined: github, other

    1 error, 0 warnings in guard.toml
    ");
}

#[test]
fn call_timeout_below_connect_timeout() {
    insta::assert_snapshot!(errors("[bulkheads.a]\nconnect_timeout = \"5s\"\ncall_timeout = \"2s\"\n"), @r#"
      error: `bulkheads.a.call_timeout` is shorter than `connect_timeout`
       ,-[guard.toml:3:16]
     1 | [bulkheads.a]
     2 | connect_timeout = "5s"
       :                   ^^|^
       :                     `-- `connect_timeout` is 5s
     3 | call_timeout = "2s"
       :                ^^|^
       :                  `-- must be at least 5s
       `----
      help: connect_timeout is 5s, call_timeout is 2s: raise `call_timeout` or lower `connect_timeout`

    1 error, 0 warnings in guard.toml
    "#);
}

#[test]
fn hygiene_whose_times_do_not_fit() {
    let service = "[services.a]\nendpoints = [\"127.0.0.1:1\"]\n";
    let short = errors(&format!("{service}hygiene = {{ user_timeout = \"20s\" }}\n[bulkheads.a]"));
    assert!(short.contains("guard.toml:3:28"), "{short}");
    assert!(
        short.contains("`user_timeout` is shorter than keepalive takes in `services.a.hygiene`")
    );
    assert!(short.contains("user_timeout must be at least 50s"), "{short}");
    // With what the defaults of the file say, it fits, or does not.
    let defaults = "[defaults.hygiene]\nkeepalive = \"5s\"\nkeepalive_interval = \"1s\"\n";
    let fits = format!("{defaults}{service}hygiene.user_timeout = \"20s\"\n[bulkheads.a]");
    assert!(parse("guard.toml", &fits).is_ok());
    let long = format!("{defaults}{service}hygiene.keepalive = \"2m\"\n[bulkheads.a]");
    assert!(errors(&long).contains("shorter than keepalive takes"), "{}", errors(&long));
    let busy = errors("[defaults.hygiene]\npeer_closed = \"1m\"\n[bulkheads.a]");
    assert!(busy.contains("`peer_closed_busy` is shorter than `peer_closed`"), "{busy}");
    let unknown = errors("[bulkheads.a]\ntimeouts.services.b = { call_timeout = \"1s\" }");
    assert!(unknown.contains("`b`"), "{unknown}");
    let order =
        errors(&format!("{service}connect_timeout = \"2s\"\ncall_timeout = \"1s\"\n[bulkheads.a]"));
    assert!(order.contains("`services.a.call_timeout` is shorter"), "{order}");
}

#[test]
fn reserved_and_bad_names() {
    insta::assert_snapshot!(errors("[services.other]\nendpoints = [\"a.example\"]\n[bulkheads.\"My Agent\"]\n"), @r#"
      error: the service name `other` is reserved
       ,-[guard.toml:1:11]
     1 | [services.other]
       :           ^^|^^
       :             `-- reserved
     2 | endpoints = ["a.example"]
       `----
      help: it is the built-in service of every destination that no endpoint matches; choose another name

      error: `bulkheads."My Agent"` is not a valid name
       ,-[guard.toml:3:12]
     2 | endpoints = ["a.example"]
     3 | [bulkheads."My Agent"]
       :            ^^^^^|^^^^
       :                 `-- `M` is not allowed
       `----
      help: write `my-agent`; names have 1 to 63 characters of a-z, 0-9, `_` and `-`, and start with a letter or a digit

    2 errors, 0 warnings in guard.toml
    "#);
}

#[test]
fn for_scripts() {
    let errors = parse("guard.toml", "[daemon]\n  mode = \"enforc\"\n").unwrap_err();
    insta::assert_snapshot!(serde_json::to_string_pretty(&errors).unwrap(), @r#"
    {
      "diagnostics": [
        {
          "severity": "error",
          "file": "guard.toml",
          "line": 2,
          "column": 10,
          "key": "daemon.mode",
          "message": "`daemon.mode` cannot be \"enforc\"",
          "help": "did you mean \"enforce\"? possible: \"enforce\", \"monitor\""
        }
      ]
    }
    "#);
}
