//! Which planned times are done with, on the disk: so that a restart of guardd runs none twice, and
//! knows which it has missed. It is written before a drill is started.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::journal::replace_file;

const FILE: &str = "schedules.json";

/// What is known of one schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// The calendar that the times are of.
    pub(super) calendar: String,
    /// The last planned time that is done with, or when the schedule was first seen.
    pub(super) handled: Timestamp,
}

/// By the name of the schedule.
pub(super) type Memory = BTreeMap<String, Remembered>;

/// What an earlier guardd wrote; nothing if there is no file.
pub(super) fn read(state_dir: &Path) -> io::Result<Memory> {
    match std::fs::read(state_dir.join(FILE)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memory::new()),
        Err(error) => Err(error),
    }
}

/// Replaces the file as a whole: whoever reads it finds the old or the new one.
pub(super) fn write(state_dir: &Path, memory: &Memory) -> io::Result<()> {
    replace_file(state_dir, FILE, &serde_json::to_vec_pretty(memory)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), Memory::new());
        let handled = Timestamp::from_second(1_800_000_000).unwrap();
        let remembered = Remembered { calendar: "@daily".into(), handled };
        let memory = Memory::from([("a".to_owned(), remembered)]);
        write(directory.path(), &memory).unwrap();
        write(directory.path(), &memory).unwrap();
        assert_eq!(read(directory.path()).unwrap(), memory);
        std::fs::write(directory.path().join(FILE), "{").unwrap();
        assert!(read(directory.path()).is_err());
    }
}
