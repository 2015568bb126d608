//! The shipped Chaos Toolkit experiment, run by the real `chaos` against two guardds that stand for two
//! hosts. Instead of ssh a shell is told which control socket is meant; nothing else is replaced.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use testbed::agent::AgentProcess;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::process::binary;
use testbed::server::Server;
use testbed::{cgroup, requires, wait};

use super::client::python;
use super::{BULKHEAD, LIMIT};

/// A host is well unless there is a file `sick` beside its control socket.
const DRILL: &str = r#"
name = "fleet"
before = "1s"
duration = "2s"
after = "10s"
[[fault]]
bulkhead = "agent"
service = "api"
latency = { delay = "10ms" }
[[steady_state]]
bulkhead = "agent"
success_rate_at_least = 0.95
[[steady_state]]
name = "not sick"
when = ["during"]
command = ["/bin/sh", "-c", "test ! -e \"${GUARD_SOCKET%/*}/sick\""]
"#;

struct Host {
    // Dropped in this order.
    _agent: AgentProcess,
    guardd: Guardd,
    _server: Server,
}

impl Host {
    fn start() -> Self {
        let server = Server::loopback().unwrap();
        let address = server.address().unwrap();
        let config = GuarddConfig::simple(&[("api", &[address])], &[BULKHEAD]);
        let guardd = Guardd::start(config).unwrap();
        let target = format!("http://{address}/");
        let args = ["--target", &target, "--interval", "20ms", "--timeout", "5s", "--quiet"];
        let path = guardd.bulkhead(BULKHEAD);
        let agent = AgentProcess::start(&args, |command| cgroup::wrap(&path, &command)).unwrap();
        let calls = || guardd.metric("guard_calls_total", &["outcome=\"success\""]).unwrap();
        wait::until("the agent at work", LIMIT, || calls().unwrap_or_default() > 5.0).unwrap();
        Self { _agent: agent, guardd, _server: server }
    }

    fn socket(&self) -> String {
        self.guardd.socket().display().to_string()
    }

    fn drills_begun(&self) -> usize {
        let events = self.guardd.ctl_json(&["events", "--kind", "drill_begun"]).unwrap();
        events["events"].as_array().unwrap().len()
    }
}

/// `chaos run` on these hosts: what it said, and its journal.
fn chaos(hosts: &[Host], directory: &Path) -> (Output, Value) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let drill = directory.join("drill.toml");
    std::fs::write(&drill, DRILL).unwrap();
    let journal = directory.join("journal.json");
    let programs = binary("guardctl").unwrap().parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    let sockets: Vec<String> = hosts.iter().map(Host::socket).collect();
    let mut command = Command::new(python().with_file_name("chaos"));
    command.args(["--no-version-check", "--no-log-file", "run", "--journal-path"]).arg(&journal);
    command.arg("configs/chaostoolkit/experiment.json").current_dir(root);
    command.env("PATH", path).env("HOME", directory);
    command.env("GUARD_HOSTS", sockets.join(" ")).env("GUARD_DRILL", drill);
    command.env("GUARD_REMOTE", "GUARD_SOCKET=\"$host\" sh -c \"$command\"");
    let output = command.output().unwrap();
    let text = std::fs::read_to_string(&journal).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    (output, serde_json::from_str(&text).unwrap())
}

#[test]
fn chaos_toolkit_runs_one_drill_on_many_hosts_and_judges_it() {
    if !requires::cgroups("chaos_toolkit_runs_one_drill_on_many_hosts_and_judges_it") {
        return;
    }
    let hosts = [Host::start(), Host::start()];
    let directory = tempfile::tempdir().unwrap();
    // The second time one of the two deviates.
    for (run, deviated) in [(1, false), (2, true)] {
        if deviated {
            std::fs::write(hosts[1].guardd.directory().join("sick"), "").unwrap();
        }
        let (output, journal) = chaos(&hosts, directory.path());
        assert_eq!(output.status.code(), Some(i32::from(deviated)), "{journal:#}");
        assert_eq!(
            (&journal["status"], &journal["deviated"]),
            (&json!("completed"), &json!(deviated))
        );
        let probe = &journal["steady_states"]["after"]["probes"][0];
        assert_eq!(probe["output"]["status"], i32::from(deviated), "{journal:#}");
        let said = probe["output"]["stdout"].as_str().unwrap();
        for (host, code) in hosts.iter().zip([0, i32::from(deviated)]) {
            assert!(said.contains(&format!("{}: exit {code}\n", host.socket())), "{said}");
            assert_eq!(host.drills_begun(), run, "once per host and run");
        }
        // On every host, also where nothing is left to abort.
        assert_eq!(journal["rollbacks"][0]["status"], "succeeded", "{journal:#}");
        let rollback = journal["rollbacks"][0]["output"]["stdout"].as_str().unwrap();
        assert_eq!(rollback.matches(": exit ").count(), hosts.len(), "{rollback}");
    }
    for host in hosts {
        let status = host.guardd.ctl_json(&["status"]).unwrap();
        assert_eq!(status["faults"], json!([]));
    }
}
