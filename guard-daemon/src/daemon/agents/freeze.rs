//! Holds the processes of one agent still, by its own cgroup. What undoes it is in the undo log
//! before, so that a guardd that is killed meanwhile is followed by one that lets them go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Guard;
use crate::cgroup::{Bulkhead, Hierarchy};
use crate::checkpoint::Freezer;
use crate::journal::{Ticket, Undo};

const FILE: &str = "cgroup.freeze";
/// How long all of them may take to stand still: one in the kernel for long does not.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct AgentFreezer {
    guard: Arc<Guard>,
    path: PathBuf,
    id: u64,
    ticket: Option<Ticket>,
}

impl AgentFreezer {
    /// For this cgroup; `None` if nobody is in it, or it stands still already, for another reason.
    pub(super) fn of(guard: &Arc<Guard>, path: &Path) -> Result<Option<Self>, String> {
        let hierarchy = Hierarchy::discover().map_err(|error| error.to_string())?;
        let cgroup = Bulkhead::open(&hierarchy, path).map_err(|error| error.to_string())?;
        let Some(cgroup) = cgroup else { return Ok(None) };
        if !cgroup.populated().map_err(|error| error.to_string())? {
            return Ok(None);
        }
        if let Some((pid, name)) =
            cgroup.shared_infrastructure().map_err(|e| e.to_string())?.first()
        {
            return Err(format!(
                "process {pid} ({name}) in it serves others too: it is not frozen"
            ));
        }
        let stands = cgroup.value("cgroup.events").is_ok_and(|text| text.contains("frozen 1"));
        let (path, id) = (path.to_owned(), cgroup.id());
        Ok((!stands).then(|| Self { guard: Arc::clone(guard), path, id, ticket: None }))
    }

    fn write(&self, value: &str) -> Result<(), String> {
        let path = self.path.join(FILE);
        std::fs::write(&path, value).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn settle(&mut self) {
        if let Some(ticket) = self.ticket.take()
            && let Err(error) = self.guard.lock().undo.done(ticket)
        {
            tracing::warn!(%error, "thawed, but the undo log could not be told");
        }
    }
}

impl Freezer for AgentFreezer {
    fn freeze(&mut self) -> Result<(), String> {
        let entry = Undo::CgroupValue {
            path: self.path.clone(),
            id: self.id,
            file: FILE.into(),
            before: "0".into(),
            set: "1".into(),
        };
        let ticket = self.guard.lock().undo.intend(entry).map_err(|error| error.to_string())?;
        self.ticket = Some(ticket);
        let until = Instant::now() + PATIENCE;
        let mut why = self.write("1").err();
        while why.is_none() {
            let events = std::fs::read_to_string(self.path.join("cgroup.events"));
            match events {
                Ok(text) if text.lines().any(|line| line == "frozen 1") => return Ok(()),
                Err(error) => why = Some(format!("its cgroup.events: {error}")),
                Ok(_) if Instant::now() >= until => {
                    why = Some(format!("its processes do not stand still within {PATIENCE:?}"));
                }
                Ok(_) => std::thread::sleep(Duration::from_micros(500)),
            }
        }
        let thawed = self.thaw();
        Err([why.unwrap_or_default(), thawed.err().unwrap_or_default()].join(" "))
    }

    fn thaw(&mut self) -> Result<(), String> {
        match self.write("0") {
            Err(error) if self.path.exists() => {
                // The entry stays open: the next start tries again.
                tracing::error!(cgroup = %self.path.display(), error, "an agent is not let go");
                Err(error)
            }
            _ => {
                self.settle();
                Ok(())
            }
        }
    }
}
