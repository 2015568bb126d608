//! Makes a checkpoint: copy, freeze, copy what changed, thaw, checksums, publish, prune.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::Settings;
use super::copy::{Copier, path_of};
use super::error::{CheckpointError, at};
use super::freeze::{Freezer, Frozen};
use super::manifest::{Entry, FILE, Kind, Manifest};
use super::store::{checksum, data, lock, numbers, place, prepare, prune, verify};

/// A checkpoint that was made.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Its number.
    pub number: u64,
    /// How long the agent stood still.
    pub frozen: Duration,
    /// Files, directories and links.
    pub entries: usize,
    /// Bytes of the files.
    pub bytes: u64,
    /// What was left out, one line each.
    pub skipped: Vec<String>,
}

/// Makes one. Without a `freezer` the agent is known not to run.
///
/// # Errors
/// Whatever is wrong; then the agent runs, and no checkpoint was added or removed. Two of one
/// agent at once are the caller's to prevent.
pub fn save(
    settings: &Settings,
    freezer: Option<Box<dyn Freezer>>,
) -> Result<Saved, CheckpointError> {
    let _turn = lock(&settings.directory)?;
    let temporary = prepare(&settings.directory)?;
    let result =
        fill(settings, freezer, &temporary).and_then(|made| publish(settings, &temporary, made));
    if result.is_err()
        && let Err(error) = std::fs::remove_dir_all(&temporary)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %temporary.display(), %error, "half a checkpoint stays until the next one");
    }
    let saved = result?;
    prune(&settings.directory, settings.keep)?;
    Ok(saved)
}

fn fill(
    settings: &Settings,
    freezer: Option<Box<dyn Freezer>>,
    temporary: &Path,
) -> Result<(Manifest, Duration), CheckpointError> {
    let mut copier = Copier::new(settings, temporary)?;
    let mut frozen_for = Duration::ZERO;
    if let Some(freezer) = freezer {
        copier.pass(None)?;
        let frozen = Frozen::begin(freezer, settings.max_freeze)?;
        let copied = copier.pass(Some(frozen.deadline));
        let thawed = frozen.end()?;
        frozen_for = thawed.frozen;
        copied?;
        if thawed.overdue {
            return Err(CheckpointError::TooSlow { limit_ms: settings.max_freeze.as_millis() });
        }
    } else {
        copier.pass(None)?;
    }
    let manifest = Manifest {
        schema: "guard.checkpoint/1".into(),
        time: jiff::Timestamp::now().to_string(),
        frozen_seconds: frozen_for.as_secs_f64(),
        roots: settings.paths.clone(),
        entries: copier.entries.into_values().collect(),
        skipped: copier.skipped,
    };
    Ok((manifest, frozen_for))
}

fn publish(
    settings: &Settings,
    temporary: &Path,
    (mut manifest, frozen): (Manifest, Duration),
) -> Result<Saved, CheckpointError> {
    for entry in &mut manifest.entries {
        seal(entry, temporary)?;
    }
    let number = numbers(&settings.directory)?.last().map_or(1, |last| last + 1);
    let damaged = |what| CheckpointError::Damaged { number, what };
    let text = manifest.to_text().map_err(|error| damaged(error.to_string()))?;
    let path = temporary.join(FILE);
    let mut file = File::create_new(&path).map_err(at("make", &path))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(at("write", &path))?;
    if settings.verify {
        verify(temporary, &manifest).map_err(damaged)?;
    }
    sync_directory(temporary)?;
    let target = place(&settings.directory, number);
    std::fs::rename(temporary, &target).map_err(at("publish", &target))?;
    sync_directory(&settings.directory)?;
    Ok(Saved {
        number,
        frozen,
        entries: manifest.entries.len(),
        bytes: manifest.bytes(),
        skipped: manifest.skipped,
    })
}

/// Puts a file onto the disk, and its checksum into its entry.
fn seal(entry: &mut Entry, temporary: &Path) -> Result<(), CheckpointError> {
    let below = path_of(entry).map_err(CheckpointError::Freeze)?;
    let path = data(temporary, entry.root, &below);
    match &mut entry.kind {
        Kind::File { bytes, blake3 } => {
            File::open(&path).and_then(|file| file.sync_all()).map_err(at("write", &path))?;
            // As it is in the copy: without a freeze it may have grown since it was looked at.
            (*bytes, *blake3) = checksum(&path).map_err(at("read", &path))?;
            Ok(())
        }
        Kind::Directory => sync_directory(&path),
        Kind::Link { .. } => Ok(()),
    }
}

fn sync_directory(path: &Path) -> Result<(), CheckpointError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(at("write", path))
}
