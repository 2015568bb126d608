//! `members.json` in the state directory: the main processes of all runs, so that a guardd that was
//! started again still knows what is left of them. Without the file it knows no orphans, and so
//! ends none.

use std::io::Write as _;

use serde::{Deserialize, Serialize};

use super::State;
use super::process::Main;

const FILE: &str = "members.json";
const TEMPORARY: &str = "members.json.new";

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Pids of another boot mean nothing.
    boot_id: String,
    runs: Vec<KeptRun>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeptRun {
    bulkhead: String,
    sub: String,
    mains: Vec<Main>,
}

fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_end().to_owned()
}

impl State {
    /// Writes the file, if it would say something else than it does.
    pub(super) fn save_mains(&mut self) {
        let runs = self.members.runs.iter().filter(|(_, run)| run.joined);
        let runs: Vec<KeptRun> = runs
            .map(|((bulkhead, sub), run)| KeptRun {
                bulkhead: bulkhead.clone(),
                sub: sub.clone(),
                mains: run.mains.clone(),
            })
            .collect();
        let kept = Kept { boot_id: boot_id(), runs };
        let Ok(text) = serde_json::to_string(&kept) else { return };
        let nothing = kept.runs.is_empty() && self.members.saved.is_empty();
        if nothing || text == self.members.saved {
            return;
        }
        let directory = &self.plan.daemon.state_dir;
        let written = std::fs::File::create(directory.join(TEMPORARY))
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| std::fs::rename(directory.join(TEMPORARY), directory.join(FILE)));
        if let Err(error) = written {
            tracing::warn!(%error, "members.json not written: a guardd started again will not \
                know the orphans of runs before it");
        }
        self.members.saved = text;
    }

    /// Reads it, at the start.
    pub(crate) fn load_mains(&mut self) {
        let path = self.plan.daemon.state_dir.join(FILE);
        let Ok(text) = std::fs::read_to_string(&path) else { return };
        let kept: Kept = match serde_json::from_str(&text) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "orphans of earlier runs are not known");
                return;
            }
        };
        // So that the next look brings it up to date.
        self.members.saved = text;
        if kept.boot_id != boot_id() {
            return;
        }
        for run in kept.runs {
            let place = (run.bulkhead, run.sub);
            // A run's cgroup that is gone took its processes with it.
            let known = if place.1.is_empty() {
                self.bulkheads.contains_key(&place.0)
            } else {
                self.members.runs.contains_key(&place)
            };
            if known {
                let entry = self.members.runs.entry(place).or_default();
                entry.mains = run.mains;
                entry.joined = true;
            }
        }
    }
}
