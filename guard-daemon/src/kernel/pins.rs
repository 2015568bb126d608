//! What outlives the daemon: maps and links pinned below one directory of a bpffs,
//! `maps/NAME` and `links/CGROUP/PROGRAM`, where CGROUP is the id of a bulkhead's cgroup.
//!
//! Maps and rules of faults are never pinned: a fault must not outlive the daemon that answers for
//! it. What a daemon of another layout has left is never opened.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use aya::maps::MapInfo;
use aya_obj::Object;

use super::OBJECT;
use super::error::{KernelError, cause_chain};
use super::load::{Kernel, LoadOptions};

/// Maps that are pinned.
pub(super) const MAPS: [&str; 24] = [
    "ACCEPTED",
    "BREAKERS",
    "BREAKER_OF_PAIR",
    "BREAKER_POLICIES",
    "BULKHEAD",
    "CONTROL",
    "CREATIONS",
    "ENDED",
    "ENDPOINTS",
    "EVENTS",
    "FALLBACKS",
    "HEARTBEAT",
    "HOOK_STATS",
    "LIMITS",
    "LIMIT_OF_PAIR",
    "NESTED",
    "NESTING",
    "PAIR_STATS",
    "PROTECTED",
    "RETRY_BUDGET",
    "SERVING",
    "SOCKETS",
    "TRANSITIONS",
    "TRANSITION_COUNT",
];

/// The directory.
#[derive(Clone, Debug)]
pub struct Pins {
    directory: PathBuf,
}

impl Pins {
    /// Pins below a directory of a bpffs.
    pub fn below(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Makes the directories, if they are not there.
    pub fn make(&self) -> Result<(), KernelError> {
        [self.directory.join("maps"), self.directory.join("links")]
            .iter()
            .try_for_each(|path| make_directory(path))
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.directory.join("maps").join(name)
    }

    /// Where the links of a cgroup are.
    pub(super) fn links_of(&self, cgroup_id: u64) -> PathBuf {
        self.directory.join("links").join(cgroup_id.to_string())
    }

    /// Whether everything that an earlier life pinned fits this object and `needed`: then the sizes
    /// that its maps have, else why not.
    pub fn check(&self, needed: LoadOptions) -> Result<LoadOptions, String> {
        let object = Object::parse(OBJECT).map_err(|e| cause_chain(&e))?;
        let needed = needed.rounded();
        let mut found = needed;
        for name in MAPS {
            let wanted = object.maps.get(name).ok_or_else(|| format!("no map is named {name}"))?;
            let there = MapInfo::from_pin(self.map(name))
                .map_err(|e| format!("map {name} is missing: {}", cause_chain(&e)))?;
            let kind = there.map_type().map(|kind| kind as u32).map_err(|e| cause_chain(&e))?;
            let was = (kind, there.key_size(), there.value_size());
            let is = (wanted.map_type(), wanted.key_size(), wanted.value_size());
            if was != is {
                return Err(format!("map {name} has another layout: {was:?}, now {is:?}"));
            }
            let size = there.max_entries();
            let room = match name {
                "PAIR_STATS" => std::mem::replace(&mut found.pairs, size),
                "ENDPOINTS" => std::mem::replace(&mut found.endpoints, size),
                "BREAKERS" => std::mem::replace(&mut found.breakers, size),
                "BREAKER_OF_PAIR" => needed.breakers,
                "LIMITS" => std::mem::replace(&mut found.limits, size),
                "LIMIT_OF_PAIR" => needed.limits,
                _ => wanted.max_entries(),
            };
            if size < room {
                return Err(format!("map {name} has room for {size} entries, {room} are needed"));
            }
        }
        Ok(found)
    }
}

impl Kernel {
    /// Takes guard's programs off cgroups that an earlier life had attached them to and that are
    /// none of `bulkheads` (ids of cgroups). Returns from how many.
    pub fn detach_others(&self, bulkheads: &BTreeSet<u64>) -> Result<usize, KernelError> {
        let Some(pins) = &self.pins else { return Ok(0) };
        let links = pins.directory.join("links");
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| KernelError::Io { what: "detaching from a cgroup", path, source }
        };
        let mut count = 0;
        for entry in std::fs::read_dir(&links).map_err(failed(&links))? {
            let entry = entry.map_err(failed(&links))?;
            let id = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
            if id.is_some_and(|id| bulkheads.contains(&id)) {
                continue;
            }
            std::fs::remove_dir_all(entry.path()).map_err(failed(&entry.path()))?;
            count += 1;
        }
        Ok(count)
    }
}

/// Makes a directory and those above it; one that is there is as good.
pub(super) fn make_directory(path: &Path) -> Result<(), KernelError> {
    std::fs::create_dir_all(path).map_err(|source| KernelError::Io {
        what: "making a directory for pins",
        path: path.display().to_string(),
        source,
    })
}

/// Removes a directory with the links in it, which detaches their programs.
pub(super) fn remove_links(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
