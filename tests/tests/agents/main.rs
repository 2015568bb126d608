//! Agents that guardd runs, against the real kernel: restarts and their limit, health, order, a guardd
//! that is killed, and checkpoints that are made and put back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]
#![allow(missing_docs, clippy::missing_panics_doc, reason = "helpers of tests")]

mod by_hand;
mod checkpoints;
mod restarts;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::{timing, wait};

pub const LIMIT: Duration = Duration::from_secs(15);

/// A guardd whose agents work in a directory of its own, which is gone with them.
pub struct Scene {
    // Dropped in this order: agents, guardd, directory.
    _stop: StopAgents,
    pub guardd: Guardd,
    pub home: tempfile::TempDir,
}

impl Scene {
    /// `agents`: TOML after the bulkhead `b`; `HOME` in it is the scene's directory.
    pub fn new(scripts: &[(&str, &str)], agents: &str) -> Self {
        let home = tempfile::Builder::new().prefix("guard-agents-").tempdir().unwrap();
        let place = fs::canonicalize(home.path()).unwrap().display().to_string();
        for (name, text) in scripts {
            let path = home.path().join(name);
            let text = format!("#!/bin/sh\ncd {place}\n{}\n", text.replace("HOME", &place));
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let body = format!("[bulkheads.b]\n{}", agents.replace("HOME", &place));
        let guardd = Guardd::start(GuarddConfig::new(body)).unwrap();
        Self { _stop: StopAgents(guardd.socket()), guardd, home }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// How an agent is.
    pub fn agent(&self, name: &str) -> Value {
        let agents = self.guardd.ctl_json(&["agent", "list"]).unwrap();
        let all = agents["agents"].as_array().unwrap();
        all.iter().find(|agent| agent["name"] == name).cloned().unwrap()
    }

    pub fn until_state(&self, name: &str, state: &str) {
        let is = || self.agent(name)["state"] == state;
        let waited = wait::until(&format!("{name} {state}"), timing::at_most(LIMIT), is);
        assert!(waited.is_ok(), "{name} is not {state}: {}", self.agent(name));
    }

    pub fn until(&self, what: &str, ready: impl FnMut() -> bool) {
        let waited = wait::until(what, timing::at_most(LIMIT), ready);
        assert!(waited.is_ok(), "{what} did not come: {}", self.words());
    }

    pub fn pid(&self, name: &str) -> Option<u32> {
        self.agent(name)["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    }

    pub fn ctl(&self, arguments: &[&str]) -> String {
        let said = self.guardd.ctl(arguments).unwrap();
        assert_eq!(said.code, 0, "{arguments:?}: {} {}", said.stdout, said.stderr);
        said.stdout
    }

    /// Messages of events of a kind.
    pub fn events(&self, kind: &str) -> Vec<String> {
        let events = self.guardd.ctl_json(&["events", "--kind", kind]).unwrap();
        let all = events["events"].as_array().unwrap();
        all.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }

    /// What agents and supervisors said.
    pub fn words(&self) -> String {
        let files = fs::read_dir(self.guardd.state_dir().join("agents")).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let lines: Vec<String> =
            files.map(|file| format!("{}: {}\n", file.display(), text(&file))).collect();
        lines.concat()
    }

    /// Ends the agents, and guardd, which must leave nothing.
    pub fn finish(self) {
        self.ctl(&["agent", "stop", "--all"]);
        self.guardd.finish().unwrap();
    }
}

/// Of a test that has failed no agent may stay.
struct StopAgents(PathBuf);

impl Drop for StopAgents {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let guardctl = testbed::process::binary("guardctl").unwrap();
            let mut command = std::process::Command::new(guardctl);
            command.arg("--socket").arg(&self.0).args(["agent", "stop", "--all"]);
            eprintln!("agents stopped: {:?}", command.output());
        }
    }
}

pub fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

pub fn runs(pid: u32) -> bool {
    let stat = text(Path::new(&format!("/proc/{pid}/stat")));
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

pub fn kill(pid: u32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), signal).unwrap();
}
