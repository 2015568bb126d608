//! What a daemon leaves to the next one: maps and links in the kernel, pinned in a bpffs of guard's
//! own, and `state_dir/kept.json`, which says what the numbers in those maps mean.
//!
//! Either all of it is taken over or nothing: where the two do not belong together, or were made by
//! a guard of another layout, the pins are removed and breakers start afresh, and the log says why.

use std::io;
use std::path::{Path, PathBuf};

use guard_common::abi::ABI_VERSION;
use serde::{Deserialize, Serialize};

use super::error::DaemonError;
use crate::journal::{Entry, OwnBpffs, Undo, UndoLog, replace_file};
use crate::kernel::{Kernel, KernelError, LoadOptions, Pins};
use crate::plan::{BreakerMode, Ids, Plan};

/// Name of the file below the state directory.
const FILE: &str = "kept.json";
/// Name of the bpffs below the runtime directory.
const BPFFS: &str = "pins";

/// `kept.json`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Names the directory of the pins that it belongs to.
    pins: String,
    /// Names in the order of their ids, from 1 on.
    bulkheads: Vec<String>,
    services: Vec<String>,
    /// Modes that the operator has set.
    modes: Vec<KeptMode>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeptMode {
    bulkhead: String,
    service: String,
    mode: String,
}

/// Modes of breakers that the operator has set, by bulkhead and service.
pub(crate) type BreakerModes = std::collections::BTreeMap<(String, String), BreakerMode>;

/// What this daemon will leave.
#[derive(Debug)]
pub(crate) struct Keeping {
    bpffs: OwnBpffs,
    state_dir: PathBuf,
    /// Name of the directory of the pins; empty if nothing is pinned.
    pins: String,
    /// Why nothing is pinned.
    problem: Option<String>,
}

/// What an earlier daemon has left.
pub(super) struct Left {
    pub(super) kernel: Kernel,
    pub(super) ids: Ids,
    pub(super) modes: BreakerModes,
    /// Whether the kernel's maps and programs are those of an earlier daemon.
    pub(super) taken_over: bool,
}

/// Whether an entry of the undo log is about something that the next daemon may take over.
pub(super) fn is_kept(entry: &Entry, plan: &Plan) -> bool {
    let pins = runtime_dir(plan).join(BPFFS);
    entry.same_boot
        && match &entry.what {
            Undo::CgroupMade { .. } => true,
            what if super::resources::is_kept(what) => true,
            Undo::Mounted { path } | Undo::DirMade { path } => *path == pins,
            _ => false,
        }
}

/// Directory of the control socket.
pub(super) fn runtime_dir(plan: &Plan) -> &Path {
    plan.daemon.control_socket.parent().unwrap_or(Path::new("/run/guard"))
}

impl Keeping {
    /// Loads the programs, on the maps of an earlier daemon if they can be taken over.
    pub(super) fn load(
        plan: &Plan,
        undo: &mut UndoLog,
        options: LoadOptions,
    ) -> Result<(Self, Left), DaemonError> {
        let mut keeping = Self {
            bpffs: OwnBpffs::new(runtime_dir(plan).join(BPFFS)),
            state_dir: plan.daemon.state_dir.clone(),
            pins: String::new(),
            problem: None,
        };
        if keeping.bpffs.take_over(undo)? {
            match keeping.find(options) {
                Ok((pins, options, kept)) => {
                    // After an error the earlier daemon's programs stay at work.
                    let kernel = Kernel::load(options, Some(&pins))?;
                    tracing::info!(
                        "breakers, counters and programs of an earlier guardd taken over"
                    );
                    keeping.pins.clone_from(&kept.pins);
                    return Ok((keeping, Left::of(kernel, kept)));
                }
                Err(why) => tracing::warn!(why, "an earlier guardd's breakers start afresh"),
            }
            keeping.bpffs.clear()?;
        }
        if let Err(error) = keeping.bpffs.mount(undo) {
            tracing::warn!(%error, "nothing is kept: breakers forget their states when guardd ends");
            keeping.problem = Some(error.to_string());
            let kernel = Kernel::load(options, None)?;
            return Ok((keeping, Left::nothing(kernel)));
        }
        match keeping.load_afresh(options) {
            Ok(kernel) => Ok((keeping, Left::nothing(kernel))),
            Err(error) => {
                keeping.remove(undo);
                Err(error.into())
            }
        }
    }

    fn load_afresh(&mut self, options: LoadOptions) -> Result<Kernel, KernelError> {
        self.pins = format!("abi{ABI_VERSION}-{:016x}", rand::random::<u64>());
        let pins = Pins::below(self.bpffs.path().join(&self.pins));
        pins.make()?;
        Kernel::load(options, Some(&pins))
    }

    /// The pins of an earlier daemon, what their maps have room for and what their numbers mean;
    /// or why they cannot be taken over.
    fn find(&self, options: LoadOptions) -> Result<(Pins, LoadOptions, Kept), String> {
        let path = self.state_dir.join(FILE);
        let because = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|e| because(&e))?;
        let kept: Kept = serde_json::from_str(&text).map_err(|e| because(&e))?;
        if !kept.pins.starts_with(&format!("abi{ABI_VERSION}-")) || kept.pins.contains('/') {
            return Err(because(&format!(
                "its pins are {:?}, and this guardd has layout {ABI_VERSION}",
                kept.pins
            )));
        }
        let pins = Pins::below(self.bpffs.path().join(&kept.pins));
        let options = pins.check(options)?;
        Ok((pins, options, kept))
    }

    /// Writes down what the numbers in the maps mean. Must be on the disk before a number is used.
    pub(crate) fn save(&self, ids: &Ids, modes: &BreakerModes) -> Result<(), DaemonError> {
        if self.pins.is_empty() {
            return Ok(());
        }
        let modes = modes.iter().map(|((bulkhead, service), mode)| KeptMode {
            bulkhead: bulkhead.clone(),
            service: service.clone(),
            mode: mode.name().to_owned(),
        });
        let kept = Kept {
            pins: self.pins.clone(),
            bulkheads: ids.bulkhead_names().to_vec(),
            services: ids.service_names().to_vec(),
            modes: modes.collect(),
        };
        let path = self.state_dir.join(FILE);
        let written = serde_json::to_vec_pretty(&kept)
            .map_err(io::Error::from)
            .and_then(|bytes| replace_file(&self.state_dir, FILE, &bytes));
        written.map_err(|source| DaemonError::Kept { path, source })
    }

    /// Why nothing outlives this daemon, if so.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Takes the pins off the host, and with them what they kept at work.
    pub(super) fn remove(&mut self, undo: &mut UndoLog) {
        if let Err(error) = self.bpffs.unmount(undo) {
            tracing::error!(%error, "the pins stay; run guardctl cleanup");
        }
    }
}

impl Left {
    fn nothing(kernel: Kernel) -> Self {
        Self { kernel, ids: Ids::default(), modes: BreakerModes::new(), taken_over: false }
    }

    fn of(kernel: Kernel, kept: Kept) -> Self {
        let modes = kept.modes.into_iter().filter_map(|kept| {
            Some(((kept.bulkhead, kept.service), BreakerMode::from_name(&kept.mode)?))
        });
        let modes = modes.collect();
        let ids = Ids::from_names(kept.bulkheads, kept.services);
        Self { kernel, ids, modes, taken_over: true }
    }
}
