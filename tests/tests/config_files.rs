//! Bad configuration files, as an operator meets them: `guardctl check` and `guardd --config` say
//! the same, all of it at once, with the line, and guardd changes nothing on the host.
#![allow(clippy::unwrap_used, reason = "a test may die of what it did not expect")]

mod safety_support;

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use safety_support::{LIMIT, agent_at, counter, ends, guardctl, spawn};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::process::{Process, binary};
use testbed::{requires, wait};

/// A wrong file and what must be said about it: (line, words) of each error.
struct Case {
    name: &'static str,
    text: &'static str,
    errors: &'static [(u32, &'static str)],
}

const CASES: [Case; 14] = [
    Case {
        name: "malformed TOML",
        text: "[daemon\nmode = \"enforce\"\n",
        errors: &[(1, "not valid TOML")],
    },
    Case {
        name: "a value without quotes, and more behind it",
        text: "[bulkheads.a]\nmemory_max = 2GiB\n[daemon]\nmoode = 1\n",
        errors: &[(2, "quotes"), (4, "daemon.moode")],
    },
    Case {
        name: "an unknown key, with the one that was meant",
        text: "[bulkheads.a]\nmemry_max = \"2GiB\"\n",
        errors: &[(2, "memory_max")],
    },
    Case { name: "an unknown table", text: "[deamon]\n", errors: &[(1, "daemon")] },
    Case {
        name: "no unit, a wrong unit, an unknown unit",
        text: "[daemon]\nfault_lease = 2\n[bulkheads.a]\nmemory_max = \"2GB\"\n\
               connect_timeout = \"5sec\"\n",
        errors: &[(2, "\"2s\""), (4, "GB"), (5, "connect_timeout")],
    },
    Case {
        name: "out of range",
        text: "[daemon]\nfault_lease = \"1ms\"\n",
        errors: &[(2, "500ms to 1m")],
    },
    Case {
        name: "the same name twice",
        text: "[services.x]\nendpoints = [\"127.0.0.1:1\"]\n[services.x]\n\
               endpoints = [\"127.0.0.1:2\"]\n",
        errors: &[(3, "services.x")],
    },
    Case {
        name: "the same cgroup twice; one inside another is none",
        text: "[bulkheads.a]\ncgroup = \"x\"\n[bulkheads.b]\ncgroup = \"x\"\n[bulkheads.c]\n\
               cgroup = \"x/y\"\n",
        errors: &[(4, "same cgroup")],
    },
    Case {
        name: "a cgroup that leaves the root",
        text: "[bulkheads.a]\ncgroup = \"../a\"\n[bulkheads.b]\ncgroup = \"x/../../b\"\n\
               [bulkheads.c]\ncgroup = \"/c/../d\"\n",
        errors: &[(2, "`..`"), (4, "`..`"), (6, "bulkheads.c.cgroup")],
    },
    Case {
        name: "endpoints that are none",
        text: "[services.x]\nendpoints = [\"https://a.example/\", \"127.0.0.1\", \"127.0.0.1:0\", \
               \"*.example:1\", \"10.0.0.1/8:1\"]\n",
        errors: &[(2, "URL"), (2, "bad port"), (2, "wildcard"), (2, "prefix length")],
    },
    Case {
        name: "the same endpoint in two services",
        text: "[services.x]\nendpoints = [\"127.0.0.1:1\"]\n[services.y]\n\
               endpoints = [\"127.0.0.1:1\"]\n",
        errors: &[(4, "in service `x` and in service `y`")],
    },
    Case {
        name: "a relative path and an address that is none",
        text: "[daemon]\nstate_dir = \"var/lib\"\nmetrics_listen = \"localhost\"\n",
        errors: &[(2, "absolute path"), (3, "daemon.metrics_listen")],
    },
    Case {
        name: "names that cannot be",
        text: "[services.other]\nendpoints = [\"127.0.0.1:1\"]\n[bulkheads.\"A b\"]\n",
        errors: &[(1, "reserved"), (3, "not a valid name")],
    },
    Case {
        name: "everything at once",
        text: "[daemon]\nmode = \"off\"\ncolour = 1\n[services.x]\nendpoints = []\n\
               [bulkheads.a]\npids_max = \"many\"\n",
        errors: &[(2, "enforce"), (3, "colour"), (5, "empty"), (7, "pids_max")],
    },
];

/// `FILE:LINE:` of every error in what was printed.
fn lines_named(said: &str, file: &Path) -> Vec<u32> {
    let mark = format!("{}:", file.display());
    let line = |rest: &str| rest.split(':').next()?.parse().ok();
    said.split(&mark).skip(1).filter_map(line).collect()
}

#[test]
fn every_error_is_said_at_once_by_check_and_by_guardd() {
    let directory = tempfile::tempdir().unwrap();
    for case in CASES {
        let file = directory.path().join("guard.toml");
        fs::write(&file, case.text).unwrap();
        let path = file.display().to_string();
        let (code, out, said) = guardctl(&["check", &path]);
        assert_eq!(code, 2, "{}: {out}{said}", case.name);
        assert!(out.contains("not valid"), "{}: {out}", case.name);
        let named = lines_named(&said, &file);
        for (line, words) in case.errors {
            assert!(named.contains(line), "{}: line {line}? {said}", case.name);
            assert!(said.contains(words), "{}: {words}? {said}", case.name);
        }
        let count = said.matches("error: ").count();
        assert!(count >= case.errors.len(), "{}: {count} errors: {said}", case.name);
        assert!(said.contains("help: "), "{}: no cure: {said}", case.name);
        // The daemon says the same, also to somebody who may do nothing here.
        let (code, daemon) = ends(spawn(&file, |command| command));
        assert_eq!((code, daemon.trim()), (2, said.trim()), "{}", case.name);
        // And for machines.
        let (code, out, said) = guardctl(&["--json", "check", &path]);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, said.as_str(), &json["files"][0]["valid"]), (2, "", &false.into()));
        let diagnostics = json["files"][0]["diagnostics"].as_array().unwrap();
        let errors = diagnostics.iter().filter(|found| found["severity"] == "error").count();
        assert_eq!(errors, count, "{}: {json}", case.name);
    }
    let made: Vec<_> = fs::read_dir(directory.path()).unwrap().flatten().collect();
    assert_eq!(made.len(), 1, "guardd made nothing: {made:?}");
}

#[test]
fn files_that_cannot_be_read_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("latin1.toml"), b"# caf\xe9\n[daemon]\n").unwrap();
    fs::create_dir(at("directory.toml")).unwrap();
    let small = "[bulkheads.a]\n";
    fs::write(at("good.toml"), small).unwrap();
    for (name, words) in
        [("missing.toml", "No such file"), ("latin1.toml", "UTF-8"), ("directory.toml", "irectory")]
    {
        let path = at(name).display().to_string();
        let (code, _, said) = guardctl(&["check", &path]);
        assert_eq!(code, 2, "{name}: {said}");
        assert!(said.contains(words) && said.contains(&path), "{name}: {said}");
        let (code, said) = ends(spawn(&at(name), |command| command));
        assert_eq!(code, 2, "{name}: {said}");
        assert!(said.contains(words) && said.contains(&path), "{name}: {said}");
    }
    // One bad file of two: each has its own line, and the answer is no.
    let good = at("good.toml").display().to_string();
    let bad = at("missing.toml").display().to_string();
    let (code, out, _) = guardctl(&["check", &good, &bad]);
    assert!(code == 2 && out.contains(&format!("{good}: ok")), "{code} {out}");
    assert!(out.contains(&format!("{bad}: not valid")), "{out}");
    assert_eq!(guardctl(&["check", &good]).0, 0);
    assert_eq!(guardctl(&["check"]).0, 2);
}

/// Runs in network and mount namespaces of its own: queries go to a name server there, at first
/// to none at all, and nothing can leave.
#[test]
fn a_name_that_does_not_resolve_is_named_and_tried_again() {
    let test = "a_name_that_does_not_resolve_is_named_and_tried_again";
    let programs = ["unshare", "nsenter", "ip", "mount"];
    if !requires::cgroups(test) || !programs.iter().all(|name| requires::program(test, name)) {
        return;
    }
    let body = "[services.api]\nendpoints = [\"api.guard-test.invalid:7\", \"127.0.0.9:7\"]\n\
                [bulkheads.a]\n";
    let guardd = Guardd::prepare(GuarddConfig::new(body)).unwrap();
    let (resolv, hosts) = (guardd.directory().join("resolv"), guardd.directory().join("hosts"));
    fs::write(&resolv, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let script = "mount --bind \"$1\" /etc/resolv.conf && mount --bind \"$2\" /etc/hosts && \
                  ip link set lo up && shift 2 && exec \"$@\"";
    let mut daemon = Process::spawn(
        Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", script, "sh"])
            .args([&resolv, &hosts])
            .arg(binary("guardd").unwrap())
            .arg("--config")
            .arg(guardd.config_path()),
    )
    .unwrap();
    let status = || guardd.ctl(&["--json", "status"]).ok().filter(|answer| answer.code == 0);
    wait::until("guardd to start without the name", LIMIT, || status().is_some()).unwrap();
    let problems = || -> String {
        let status: serde_json::Value = serde_json::from_str(&status().unwrap().stdout).unwrap();
        status["problems"].to_string()
    };
    let named = || problems().contains("host name api.guard-test.invalid does not resolve");
    wait::until("the name in the status", LIMIT, named).unwrap();
    let doctor = guardd.ctl(&["doctor"]).unwrap();
    assert!(doctor.stdout.contains("api.guard-test.invalid"), "{}", doctor.stdout);
    assert_eq!(doctor.code, 0, "a warning: {}", doctor.stdout);

    // It keeps asking: as soon as there is an answer, the problem is gone.
    let pid = daemon.pid();
    fs::write(&hosts, "127.0.0.1 localhost\n127.0.0.8 api.guard-test.invalid\n").unwrap();
    wait::until("the retry", Duration::from_mins(1), || problems() == "[]").unwrap();
    let events = guardd.ctl_json(&["events", "--kind", "resolved"]).unwrap();
    assert!(events["events"].to_string().contains("127.0.0.8"), "{events}");

    // And its address belongs to the service from then on: a datagram there is one of api.
    let sent = Command::new("nsenter")
        .args([&format!("--net=/proc/{pid}/ns/net"), "--"])
        .arg("sh")
        .args([
            "-c",
            "echo $$ > \"$0/cgroup.procs\" && exec bash -c 'echo x > /dev/udp/127.0.0.8/7'",
        ])
        .arg(guardd.bulkhead("a"))
        .status()
        .unwrap();
    assert!(sent.success());
    let connects = || -> u64 {
        let status = guardd.ctl_json(&["status"]).unwrap();
        let services = status["bulkheads"][0]["services"].as_array().unwrap().clone();
        let api = services.iter().find(|service| service["name"] == "api");
        api.map_or(0, |api| api["connects"].as_u64().unwrap())
    };
    wait::until("the connect to count for api", LIMIT, || connects() == 1).unwrap();
    let stopped = daemon.stop(LIMIT).unwrap();
    assert!(stopped.success(), "{stopped}: {}", daemon.last_words());
    assert_eq!(guardd.leftovers(), [""; 0]);
}

/// A service may be anything that resolves nowhere: calls elsewhere are not disturbed by it.
#[test]
fn literal_addresses_need_no_resolver() {
    if !requires::cgroups("literal_addresses_need_no_resolver") {
        return;
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let body = format!("[services.api]\nendpoints = [\"{address}\"]\n[bulkheads.a]\n");
    let guardd = Guardd::start(GuarddConfig::new(body)).unwrap();
    let mut caller = agent_at(&guardd.bulkhead("a"), &format!("udp://{address}"), &[]);
    caller.start_call().unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let (length, peer) = socket.recv_from(&mut [0; 16]).unwrap();
    socket.send_to(b"y", peer).unwrap();
    assert!(length == 1 && caller.next(LIMIT).unwrap().is_ok());
    assert_eq!(counter(&guardd, "guard_connects_total", "a", "api"), 1);
    drop(caller);
    wait::until("a to be empty", LIMIT, || guardd.cgroup().processes().is_empty()).unwrap();
    guardd.finish().unwrap();
}
