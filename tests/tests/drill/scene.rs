//! Two bulkheads whose agents call one server all the time, and drills on the first.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testbed::agent::AgentProcess;
use testbed::cgroup;
use testbed::guardd::{Ctl, Guardd, GuarddConfig};
use testbed::process::{Process, binary};

use crate::rig::{LIMIT, Metered, RESEARCH, Rules, WRITING, pair_when, untouched, url};

/// Longest that a drill of these tests takes.
pub const DRILL_LIMIT: Duration = Duration::from_mins(1);

pub struct Scene {
    // Dropped in this order.
    agents: Vec<AgentProcess>,
    pub guardd: Guardd,
    server: Metered,
    pub directory: tempfile::TempDir,
}

impl Scene {
    /// With agents in both bulkheads.
    pub fn new() -> Self {
        Self::with_agents(&[RESEARCH, WRITING])
    }

    /// With an agent in each of these.
    pub fn with_agents(bulkheads: &[&str]) -> Self {
        let server = Metered::start(&["127.0.0.1:0"]);
        let guardd = Guardd::start(Self::config(&server)).unwrap();
        let target = url(server.addresses[0]);
        let agent = |bulkhead: &&str| {
            let args = ["--target", &target, "--interval", "20ms", "--timeout", "5s", "--quiet"];
            let path = guardd.bulkhead(bulkhead);
            AgentProcess::start(&args, |command| cgroup::wrap(&path, &command)).unwrap()
        };
        let agents = bulkheads.iter().map(agent).collect();
        let directory = tempfile::tempdir().unwrap();
        // A drill shall find them at work.
        for bulkhead in bulkheads {
            pair_when(&guardd, bulkhead, "api", "the agents at work", |p| p.call("success") > 5);
        }
        Self { agents, guardd, server, directory }
    }

    fn config(server: &Metered) -> GuarddConfig {
        GuarddConfig::simple(&[("api", &server.addresses)], &[RESEARCH, WRITING])
    }

    /// Writes these lines behind the configuration, instead of those of an earlier call.
    pub fn configure(&mut self, more: &str) {
        let mut config = Self::config(&self.server);
        config.append(more);
        self.guardd.set_config(config).unwrap();
    }

    /// Writes a drill file: two seconds of faults, unless `rest` begins with other times.
    pub fn file(&self, rest: &str) -> String {
        let times = if rest.contains("\nduration = ") || rest.starts_with("duration = ") {
            ""
        } else {
            "before = \"1s\"\nduration = \"2s\"\nafter = \"10s\"\n"
        };
        let path = self.directory.path().join("drill.toml");
        std::fs::write(&path, format!("name = \"test-drill\"\n{times}{rest}")).unwrap();
        path.display().to_string()
    }

    /// `drill run --json FILE WORDS`: the record and the exit code.
    pub fn run(&self, rest: &str, words: &[&str]) -> (Value, i32) {
        let file = self.file(rest);
        let Ctl { code, stdout, stderr } =
            self.guardd.ctl(&[&["--json", "drill", "run", &file], words].concat()).unwrap();
        let record: Value = serde_json::from_str(&stdout)
            .unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
        assert_eq!(record["exit_code"], code, "{record}");
        (record, code)
    }

    /// Starts a drill and waits until all its faults are there.
    pub fn start(&self, rest: &str, words: &[&str]) -> Process {
        let file = self.file(rest);
        let mut command = Command::new(binary("guardctl").unwrap());
        command.arg("--socket").arg(self.guardd.socket());
        command.args(["--json", "drill", "run", &file]).args(words);
        let process = Process::spawn(&mut command).unwrap();
        let count = rest.matches("[[fault]]").count();
        testbed::wait::until("the drill's faults", LIMIT, || self.faults().len() == count)
            .unwrap_or_else(|error| panic!("{error:#}: {}", process.last_words()));
        process
    }

    /// Faults that are active or scheduled.
    pub fn faults(&self) -> Vec<Value> {
        let status = self.guardd.ctl_json(&["status"]).unwrap();
        status["faults"].as_array().unwrap().clone()
    }

    /// Where results go.
    pub fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    /// Nothing is left, and the other bulkhead was never touched.
    pub fn end(mut self) {
        assert_eq!(self.faults(), [Value::Null; 0]);
        assert_eq!(Rules::of(&self.guardd).chains(), [""; 0]);
        untouched(&self.guardd, WRITING);
        let drills = self.guardd.ctl_json(&["drill", "list"]).unwrap();
        assert_eq!(drills["drills"], serde_json::json!([]));
        self.agents.clear();
        self.guardd.finish().unwrap();
    }
}

/// The record that a drill which was started printed.
pub fn record(process: &mut Process) -> (Value, i32) {
    let status = process.wait(DRILL_LIMIT).unwrap();
    let text = process.stdout().join("\n");
    let record = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}\n{}", process.stderr().join("\n")));
    (record, status.code().unwrap())
}

/// What `record` says of a steady state in a phase.
pub fn met(record: &Value, name: &str, phase: &str) -> Value {
    let checks = record["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == name && check["phase"] == phase);
    found.unwrap_or_else(|| panic!("no check of {name} {phase}: {record:#}"))["met"].clone()
}
