//! The directory of an agent's checkpoints: `000001`, `000002`, …, each whole. What begins with a
//! dot is being made, or was when guardd was killed, and counts for nothing.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::error::{CheckpointError, at};
use super::manifest::{FILE, Kind, Manifest, decode};

/// Files of the state paths, below a checkpoint.
pub(super) const DATA: &str = "data";

/// One checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Its number.
    pub number: u64,
    /// When it was made: RFC 3339; empty if damaged.
    pub time: String,
    /// Files, directories and links.
    pub entries: usize,
    /// Bytes of the files.
    pub bytes: u64,
    /// How long the agent stood still, seconds.
    pub frozen_seconds: f64,
    /// What was left out, one line each.
    pub skipped: Vec<String>,
    /// What is wrong with it, as far as its manifest shows; empty = nothing.
    pub damage: String,
}

/// Those that are there, newest first; files are not read.
///
/// # Errors
/// If the directory cannot be read. One that is absent is empty.
pub fn list(directory: &Path) -> Result<Vec<Listed>, CheckpointError> {
    let of = |number: u64| match manifest(directory, number) {
        Ok(manifest) => Listed {
            number,
            entries: manifest.entries.len(),
            bytes: manifest.bytes(),
            frozen_seconds: manifest.frozen_seconds,
            time: manifest.time,
            skipped: manifest.skipped,
            damage: String::new(),
        },
        Err(damage) => Listed {
            number,
            time: String::new(),
            entries: 0,
            bytes: 0,
            frozen_seconds: 0.0,
            skipped: Vec::new(),
            damage,
        },
    };
    Ok(numbers(directory)?.into_iter().rev().map(of).collect())
}

/// Number of the newest; nothing of it is read.
pub fn newest(directory: &Path) -> Option<u64> {
    numbers(directory).ok()?.pop()
}

/// Numbers, oldest first.
pub(super) fn numbers(directory: &Path) -> Result<Vec<u64>, CheckpointError> {
    let entries = match std::fs::read_dir(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(at("read", directory))?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at("read", directory))?;
        numbers.extend(entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Where one is.
pub(super) fn place(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:06}"))
}

/// Its manifest, or what is wrong with it.
pub(super) fn manifest(directory: &Path, number: u64) -> Result<Manifest, String> {
    let path = place(directory, number).join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Manifest::from_text(&text)
}

/// Where the copy of a file is.
pub(super) fn data(place: &Path, root: usize, path: &Path) -> PathBuf {
    let base = place.join(DATA).join(root.to_string());
    if path.as_os_str().is_empty() { base } else { base.join(path) }
}

/// Compares every file with its checksum.
pub(super) fn verify(place: &Path, manifest: &Manifest) -> Result<(), String> {
    for entry in &manifest.entries {
        let Kind::File { bytes, blake3 } = &entry.kind else { continue };
        let path = decode(&entry.path).ok_or("a path of its manifest cannot be read")?;
        let file = data(place, entry.root, &path);
        let (found_bytes, found) =
            checksum(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        if found_bytes != *bytes || found != *blake3 {
            return Err(format!("{} is not what was saved", file.display()));
        }
    }
    Ok(())
}

/// Size and checksum of a file.
pub(super) fn checksum(path: &Path) -> std::io::Result<(u64, String)> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok((hasher.count(), hasher.finalize().to_hex().to_string()))
}

/// Waits until nobody else makes or restores a checkpoint of this agent; dropped, it is the next one's
/// turn. Held by whoever does, be it guardd or an agent's supervisor.
pub(super) fn lock(directory: &Path) -> Result<Flock<File>, CheckpointError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(at("make", directory))?;
    let path = directory.join(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(at("open", &path))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| at("lock", &path)(errno.into()))
}

/// An empty place for a new one; what an earlier life left unfinished is thrown away.
pub(super) fn prepare(directory: &Path) -> Result<PathBuf, CheckpointError> {
    let temporary = directory.join(".new");
    match std::fs::remove_dir_all(&temporary) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(at("remove", &temporary)(e));
        }
        _ => {}
    }
    std::fs::DirBuilder::new().mode(0o700).create(&temporary).map_err(at("make", &temporary))?;
    let data = temporary.join(DATA);
    std::fs::create_dir(&data).map_err(at("make", &data))?;
    Ok(temporary)
}

/// Removes all but the newest `keep`. What cannot be removed is told and stays.
pub(super) fn prune(directory: &Path, keep: usize) -> Result<(), CheckpointError> {
    let numbers = numbers(directory)?;
    for number in numbers.iter().rev().skip(keep.max(1)) {
        // Renamed first: half a checkpoint must not look like one.
        let (from, to) = (place(directory, *number), directory.join(".old"));
        let removed = remove_if_there(&to).and_then(|()| std::fs::rename(&from, &to));
        if let Err(error) = removed.and_then(|()| remove_if_there(&to)) {
            tracing::warn!(path = %from.display(), %error, "an old checkpoint cannot be removed");
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
