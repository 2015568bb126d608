//! The thread that looks after agents: passes on what supervisors say, and starts those that are
//! missing. It waits for no agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Guard, boot_id};
use crate::plan::AgentPlan;
use crate::supervise::{AgentSpec, Report, State, alive};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// The same without agents: one that a reload has brought starts within this.
const IDLE: Duration = Duration::from_secs(2);
/// Pause after a supervisor could not be started.
const AGAIN: Duration = Duration::from_secs(10);

impl Guard {
    /// Looks after agents until `stop`.
    pub(crate) fn look_after_agents(self: &Arc<Self>, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let agents = self.lock().plan.agents.clone();
            let boot = boot_id();
            let reports: Vec<_> =
                agents.iter().map(|agent| self.report_of(&agent.name, boot)).collect();
            for (agent, report) in agents.iter().zip(&reports) {
                self.pass_on(agent, report.as_ref());
                let ready = agent.after.iter().all(|name| {
                    let at = agents.iter().position(|other| other.name == *name);
                    at.and_then(|at| reports[at].as_ref()).is_some_and(|report| {
                        report.state == State::Running && alive(report.supervisor)
                    })
                });
                if ready {
                    self.see_to_it_that_it_runs(agent, report.as_ref());
                }
            }
            self.end_removed(&agents);
            std::thread::park_timeout(if agents.is_empty() { IDLE } else { LOOK });
        }
    }

    /// What its supervisor has written down in this boot.
    pub(super) fn report_of(&self, name: &str, boot: &str) -> Option<Report> {
        Report::read(&self.agent_files(name).report).filter(|report| report.boot_id == boot)
    }

    fn pass_on(self: &Arc<Self>, agent: &AgentPlan, report: Option<&Report>) {
        let mut book = self.agents.lock();
        let Some(report) = report else {
            book.seen.entry(agent.name.clone()).or_insert(0);
            return;
        };
        let last = report.events.last().map_or(0, |event| event.seq);
        // What there is at the first look was told by the guardd before.
        let before = book.seen.insert(agent.name.clone(), last).unwrap_or(last);
        drop(book);
        for told in report.events.iter().filter(|event| event.seq > before) {
            let (name, bulkhead) = (&agent.name, &agent.bulkhead);
            match told.kind.as_str() {
                "agent_failed" => tracing::error!(agent = name, told.message, "agent given up"),
                kind => tracing::info!(agent = name, told.message, kind, "agent"),
            }
            match told.kind.as_str() {
                "agent_failed" => {
                    let why = format!("agent {name} stays down: {}", told.message);
                    self.agent_failed(bulkhead, Some(&why));
                    super::super::healing::call_for_agent(self, agent, why);
                }
                "agent_started" => self.agent_failed(bulkhead, None),
                _ => {}
            }
            self.events.note(&told.kind, |event| {
                event.bulkhead.clone_from(bulkhead);
                event.pid = report.agent.map(|(pid, _)| pid);
                event.message = format!("agent {name}: {}", told.message);
            });
        }
    }

    fn see_to_it_that_it_runs(&self, agent: &AgentPlan, report: Option<&Report>) {
        let name = &agent.name;
        let mut book = self.agents.lock();
        let waits = book.not_before.get(name).is_some_and(|at| Instant::now() < *at);
        let runs =
            book.children.get_mut(name).is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if waits || runs || book.busy.contains(name) {
            return;
        }
        drop(book);
        let supervised = report.is_some_and(|report| alive(report.supervisor));
        let given_up = report.is_some_and(|r| matches!(r.state, State::Failed | State::Ended));
        if supervised || given_up || self.agent_files(name).stopped.exists() {
            return;
        }
        let Some(_taken) = self.agents.take(name) else { return };
        if let Err(error) = self.start_supervisor(agent) {
            tracing::error!(agent = name, error, "the agent's supervisor did not start");
            self.events.note("agent_not_started", |event| {
                event.bulkhead.clone_from(&agent.bulkhead);
                event.message = format!("agent {name}: {error}");
            });
            self.agents.lock().not_before.insert(name.clone(), Instant::now() + AGAIN);
        }
    }

    /// Stops agents that are not in the configuration any more, and forgets them.
    fn end_removed(&self, agents: &[AgentPlan]) {
        let Ok(files) = std::fs::read_dir(self.agents_dir()) else { return };
        for file in files.flatten() {
            let path = file.path();
            let (Some(name), true) = (
                path.file_stem().and_then(|stem| stem.to_str()),
                path.extension().is_some_and(|extension| extension == "spec"),
            ) else {
                continue;
            };
            if agents.iter().any(|agent| agent.name == name) {
                continue;
            }
            let files = self.agent_files(name);
            let report = Report::read(&files.report);
            let runs = report
                .as_ref()
                .filter(|report| report.boot_id == boot_id() && alive(report.supervisor));
            // Another that is after it, and that leaves too, first.
            let held = runs.is_some() && self.others_are_after(name);
            match runs {
                Some(_) if held => {}
                Some(report) if report.state == State::Stopping => {}
                Some(report) => super::change::ask_to_stop(report),
                None => {
                    for path in [&files.spec, &files.report, &files.stopped] {
                        if let Err(error) = std::fs::remove_file(path)
                            && error.kind() != std::io::ErrorKind::NotFound
                        {
                            tracing::warn!(path = %path.display(), %error, "it stays");
                        }
                    }
                    let mut book = self.agents.lock();
                    book.seen.remove(name);
                    book.children.remove(name);
                    drop(book);
                    self.events
                        .note("agent_removed", |event| event.message = format!("agent {name}"));
                }
            }
        }
    }

    /// Whether an agent that runs was started after this one.
    fn others_are_after(&self, name: &str) -> bool {
        let plan = self.lock().plan.agents.clone();
        plan.iter().filter(|agent| agent.after.iter().any(|after| after == name)).any(|agent| {
            AgentSpec::read(&self.agent_files(&agent.name).spec).is_ok()
                && self.report_of(&agent.name, boot_id()).is_some_and(|r| alive(r.supervisor))
        })
    }
}
