//! What systemd says about the unit, read strictly: an answer that is not understood is an
//! error, never a guess.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::command::UNIT;

/// The properties that are asked for; each must be answered exactly once.
pub(super) const PROPERTIES: [&str; 6] =
    ["ActiveState", "ControlGroup", "Delegate", "KillMode", "LoadState", "MainPID"];

/// State of the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitState {
    active: String,
    loaded: bool,
    control_group: PathBuf,
    delegate: bool,
    kill_mode: String,
    main_pid: u32,
}

impl UnitState {
    /// Reads the output of `systemctl show`.
    ///
    /// # Errors
    /// One sentence: which line or property is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (key, value) =
                line.split_once('=').ok_or_else(|| format!("the line {line:?} has no \"=\""))?;
            if !PROPERTIES.contains(&key) {
                return Err(format!("{key} was not asked for"));
            }
            if values.insert(key, value).is_some() {
                return Err(format!("{key} is there twice"));
            }
        }
        let get = |key: &str| values.get(key).copied().ok_or_else(|| format!("{key} is missing"));
        let active = get("ActiveState")?;
        if !matches!(
            active,
            "active"
                | "inactive"
                | "failed"
                | "activating"
                | "deactivating"
                | "reloading"
                | "maintenance"
                | "refreshing"
        ) {
            return Err(format!("ActiveState is {active:?}"));
        }
        let control_group = Path::new(get("ControlGroup")?);
        let plain = control_group.components().enumerate().all(|(at, component)| match component {
            Component::RootDir => at == 0,
            Component::Normal(_) => at > 0,
            _ => false,
        });
        if !plain {
            return Err(format!("ControlGroup is {}", control_group.display()));
        }
        Ok(Self {
            active: active.to_owned(),
            loaded: match get("LoadState")? {
                "loaded" => true,
                "not-found" => false,
                other => return Err(format!("LoadState is {other:?}")),
            },
            control_group: control_group.to_path_buf(),
            delegate: match get("Delegate")? {
                "yes" => true,
                "no" => false,
                other => return Err(format!("Delegate is {other:?}")),
            },
            kill_mode: get("KillMode")?.to_owned(),
            main_pid: get("MainPID")?
                .parse()
                .map_err(|_| format!("MainPID is {:?}", values.get("MainPID")))?,
        })
    }

    /// It is active.
    pub fn is_running(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading" | "refreshing")
    }

    /// systemd knows the unit, running or not: it keeps one whose cgroup still has processes.
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// It is starting or stopping.
    pub fn is_in_between(&self) -> bool {
        matches!(self.active.as_str(), "activating" | "deactivating" | "maintenance")
    }

    /// The keeper; 0 = none.
    pub fn main_pid(&self) -> u32 {
        self.main_pid
    }

    /// The unit's cgroup as systemd names it, else as it follows from unit and slice.
    pub(super) fn cgroup_or_default(&self) -> &Path {
        if self.control_group.components().count() < 2 {
            Path::new("/guard.slice/guard-agents.slice/guard-agents.service")
        } else {
            &self.control_group
        }
    }

    /// The unit's cgroup (absolute in the tree), if guard may work below it.
    ///
    /// # Errors
    /// Reason and cure.
    pub(super) fn usable(&self) -> Result<&Path, (String, String)> {
        let stop = format!("systemctl stop {UNIT} when no agent is in it, and start guardd again");
        if !self.is_running() {
            let reason = format!("{UNIT} is {} right after its start", self.active);
            return Err((reason, format!("see journalctl -u {UNIT}")));
        }
        if !self.delegate {
            return Err((format!("{UNIT} is active without Delegate=yes"), stop));
        }
        if self.kill_mode != "process" {
            let reason = format!(
                "{UNIT} is active with KillMode={}, so its end would kill the agents",
                self.kill_mode
            );
            return Err((reason, stop));
        }
        if self.control_group.components().count() < 2 {
            let reason = format!("{UNIT} is active and has no cgroup of its own");
            return Err((reason, format!("see systemctl status {UNIT}")));
        }
        Ok(&self.control_group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As systemd 252 printed it.
    const RUNNING: &str = "MainPID=88\n\
        ControlGroup=/guard.slice/guard-agents.slice/guard-agents.service\n\
        Delegate=yes\nKillMode=process\nLoadState=loaded\nActiveState=active\n";
    /// A unit that does not exist.
    const ABSENT: &str = "MainPID=0\nControlGroup=\nDelegate=no\nKillMode=control-group\n\
        LoadState=not-found\nActiveState=inactive\n";

    #[test]
    fn a_running_unit() {
        let state = UnitState::parse(RUNNING).unwrap();
        assert!(state.is_running() && state.is_loaded() && !state.is_in_between());
        assert_eq!(state.main_pid(), 88);
        let path = Path::new("/guard.slice/guard-agents.slice/guard-agents.service");
        assert_eq!(state.usable().unwrap(), path);
    }

    #[test]
    fn an_absent_unit() {
        let state = UnitState::parse(ABSENT).unwrap();
        assert!(!state.is_running() && !state.is_loaded() && !state.is_in_between());
        assert!(state.usable().unwrap_err().0.contains("inactive"));
    }

    #[test]
    fn a_unit_that_would_kill_agents_is_not_used() {
        for (from, to, why) in [
            ("Delegate=yes", "Delegate=no", "without Delegate"),
            ("KillMode=process", "KillMode=control-group", "kill the agents"),
            ("=/guard.slice/guard-agents.slice/guard-agents.service", "=/", "no cgroup"),
            ("=/guard.slice/guard-agents.slice/guard-agents.service", "=", "no cgroup"),
        ] {
            let state = UnitState::parse(&RUNNING.replace(from, to)).unwrap();
            let (reason, _) = state.usable().unwrap_err();
            assert!(reason.contains(why), "{reason}");
        }
        assert!(
            UnitState::parse(&RUNNING.replace("=active", "=activating")).unwrap().is_in_between()
        );
    }

    #[test]
    fn odd_answers_are_errors() {
        for (text, why) in [
            (String::new(), "missing"),
            (RUNNING.replace("Delegate=yes\n", ""), "Delegate is missing"),
            (format!("{RUNNING}Delegate=yes\n"), "twice"),
            (format!("{RUNNING}Id=x\n"), "not asked"),
            (format!("{RUNNING}junk\n"), "no \"=\""),
            (RUNNING.replace("=yes", "=cpu"), "Delegate is"),
            (RUNNING.replace("88", "88x"), "MainPID"),
            (RUNNING.replace("=active", "=odd"), "ActiveState"),
            (RUNNING.replace("=loaded", "=masked"), "LoadState"),
            (RUNNING.replace("/guard.slice/", "/../"), "ControlGroup"),
            (RUNNING.replace("=/guard.slice/", "=guard.slice/"), "ControlGroup"),
        ] {
            let error = UnitState::parse(&text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
