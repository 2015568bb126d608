//! Starts a supervisor, in a cgroup that is no bulkhead's: neither a freeze, nor a limit, nor the end
//! of a bulkhead may reach it.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Guard, sub_of};
use crate::cgroup::{Bulkhead, Made};
use crate::journal::{Undo, replace_file};
use crate::plan::{AgentPlan, environment};
use crate::supervise::{AgentSpec, CheckpointSpec};

/// The cgroup of all supervisors, below the cgroup root.
const SUPERVISORS: &str = "guard-supervisors";

impl Guard {
    /// Where the checkpoints of an agent are.
    pub(super) fn checkpoints_dir(&self, agent: &str) -> std::path::PathBuf {
        self.lock().plan.daemon.state_dir.join("checkpoints").join(agent)
    }

    fn spec_of(&self, agent: &AgentPlan) -> Result<AgentSpec, String> {
        let files = self.agent_files(&agent.name);
        let directory = self.checkpoints_dir(&agent.name);
        let state = self.lock();
        let live = state.bulkheads.get(&agent.bulkhead);
        let live = live.ok_or_else(|| format!("bulkhead {} is not set up", agent.bulkhead))?;
        let sub = sub_of(&agent.name);
        // How guard tries again, for agents that want to follow it; what the file says of them wins.
        let policies = environment(&state.plan.retry_policies).into_iter();
        let environment = policies.chain(agent.environment.clone()).collect();
        Ok(AgentSpec {
            name: agent.name.clone(),
            bulkhead: agent.bulkhead.clone(),
            cgroup: live.cgroup.path().join(&sub),
            sub,
            socket: state.plan.daemon.control_socket.clone(),
            command: agent.command.clone(),
            directory: Some(agent.directory.clone()),
            user: agent.user.clone(),
            environment,
            clean: true,
            policy: agent.policy.clone(),
            health: agent.health.clone(),
            stop: agent.stop.clone(),
            log: Some(files.log),
            report: Some(files.report),
            checkpoint: agent.checkpoint.as_ref().map(|plan| CheckpointSpec {
                directory,
                paths: plan.paths.clone(),
                restore_on_crash: plan.restore_on_crash,
            }),
        })
    }

    /// Starts it. The caller has seen that none runs.
    pub(super) fn start_supervisor(&self, agent: &AgentPlan) -> Result<(), String> {
        let spec = self.spec_of(agent)?;
        let directory = self.agents_dir();
        let at =
            |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| at(&directory, &error))?;
        let json = serde_json::to_vec_pretty(&spec).map_err(|error| error.to_string())?;
        let name = format!("{}.spec", agent.name);
        replace_file(&directory, &name, &json).map_err(|error| at(&directory, &error))?;
        let guardd = std::env::current_exe().map_err(|error| format!("guardd's path: {error}"))?;
        let guardctl = guardd.with_file_name("guardctl");
        let log = directory.join("supervisors.log");
        let output = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&log)
            .map_err(|error| at(&log, &error))?;
        let mut command = Command::new(&guardctl);
        command.arg("supervise").arg(directory.join(name));
        for of_systemd in
            ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"]
        {
            command.env_remove(of_systemd);
        }
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let child = command.spawn().map_err(|error| {
            format!("cannot start {}: {error}; it must be beside guardd", guardctl.display())
        })?;
        let pid = child.id();
        self.agents.lock().children.insert(agent.name.clone(), child);
        if let Err(error) = self.out_of_the_way(pid) {
            // It works where it is, too; only a stop of guardd's own unit may end it there.
            tracing::warn!(agent = agent.name, error, "the supervisor stays in guardd's cgroup");
        }
        tracing::info!(agent = agent.name, supervisor = pid, "supervisor started");
        Ok(())
    }

    fn out_of_the_way(&self, pid: u32) -> Result<(), String> {
        let mut state = self.lock();
        let state = &mut *state;
        let mut made = Vec::new();
        let (root, undo) = (&state.root, &mut state.undo);
        let opened = Bulkhead::make_or_adopt(root, Path::new(SUPERVISORS), &mut |path| {
            let entry = Undo::CgroupMade { path: path.to_owned() };
            made.push((path.to_owned(), undo.intend(entry).map_err(|e| e.to_string())?));
            Ok(())
        });
        // Removed at the stop if nobody is in it then.
        state.left_cgroups.extend(made);
        let Made { bulkhead, .. } = opened.map_err(|error| error.to_string())?;
        bulkhead.add(pid).map_err(|error| error.to_string())
    }
}
