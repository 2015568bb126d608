//! Puts the last good checkpoint in the place of an agent's state. Everything is made beside the
//! state and then exchanged with it, one rename for each state path; what was there before is
//! kept beside it. The agent must not run meanwhile.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, Timespec, Timestamps, renameat, renameat_with, utimensat};
use rustix::io::Errno;

use super::Settings;
use super::copy::path_of;
use super::error::{CheckpointError, at, errno};
use super::manifest::{Entry, Kind, Manifest, decode};
use super::open::{parent, through};
use super::store::{data, lock, manifest, numbers, place, verify};

/// Permission bits that come back: no set-user-id or set-group-id.
const MODE_BITS: u32 = 0o1777;

/// A checkpoint that was put back.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Its number.
    pub number: u64,
    /// When it was made: RFC 3339.
    pub time: String,
    /// Newer ones that are damaged, and what is wrong with them.
    pub skipped: Vec<(u64, String)>,
    /// Where the state before is kept.
    pub replaced: Vec<PathBuf>,
}

impl Restored {
    /// One line for people.
    pub fn words(&self) -> String {
        let passed = self.skipped.iter().map(|(n, why)| format!("; {n} is damaged: {why}"));
        let passed: String = passed.collect();
        let kept = self.replaced.first().map(|path| format!("; before: {}", path.display()));
        format!("checkpoint {} of {}{passed}{}", self.number, self.time, kept.unwrap_or_default())
    }
}

/// Restores the newest good one, or that with `number`.
///
/// # Errors
/// [`CheckpointError::NoGood`] if none can be read; others if the state cannot be written: then it is
/// as it was.
pub fn restore(settings: &Settings, number: Option<u64>) -> Result<Restored, CheckpointError> {
    let directory = &settings.directory;
    let _turn = lock(directory)?;
    let mut skipped = Vec::new();
    for candidate in numbers(directory)?.into_iter().rev() {
        if number.is_some_and(|number| number != candidate) {
            continue;
        }
        let from = place(directory, candidate);
        let good = manifest(directory, candidate)
            .and_then(|manifest| verify(&from, &manifest).map(|()| manifest))
            .and_then(|manifest| {
                let same = manifest.roots == settings.paths;
                same.then_some(manifest)
                    .ok_or_else(|| "it is of other state paths than those of now".into())
            });
        match good {
            Ok(manifest) => {
                let replaced = put_back(&from, &manifest)?;
                return Ok(Restored { number: candidate, time: manifest.time, skipped, replaced });
            }
            Err(why) => skipped.push((candidate, why)),
        }
    }
    Err(CheckpointError::NoGood { directory: directory.clone(), skipped })
}

/// One state path, made and not yet in its place.
struct Made {
    directory: OwnedFd,
    name: PathBuf,
    new: PathBuf,
    shown: PathBuf,
}

fn beside(name: &Path, what: &str) -> PathBuf {
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(what);
    beside.into()
}

fn put_back(from: &Path, manifest: &Manifest) -> Result<Vec<PathBuf>, CheckpointError> {
    let mut made: Vec<Made> = Vec::new();
    let result = (0..manifest.roots.len())
        .try_for_each(|root| {
            made.extend(make(from, manifest, root)?);
            Ok(())
        })
        .and_then(|()| exchange_all(&made));
    if result.is_err() {
        for one in &made {
            if let Err(error) = remove(&through(&one.directory, &one.new)) {
                tracing::warn!(path = %one.shown.display(), %error, "half a restore stays beside it");
            }
        }
    }
    result
}

/// Makes everything of one state path beside it; nothing if the checkpoint has nothing of it.
fn make(from: &Path, manifest: &Manifest, root: usize) -> Result<Option<Made>, CheckpointError> {
    let entries: Vec<&Entry> = manifest.entries.iter().filter(|e| e.root == root).collect();
    if entries.is_empty() {
        return Ok(None);
    }
    let shown = manifest.roots[root].clone();
    let Some((directory, name)) = parent(&shown)? else {
        return Err(at("restore", &shown)(std::io::Error::other("its directory is gone")));
    };
    let new = beside(&name, ".guard-restoring");
    let base = through(&directory, &new);
    remove(&base).map_err(at("remove", &base))?;
    let made = Made { directory, name, new, shown };
    let built = build(from, &base, &entries);
    if built.is_err()
        && let Err(error) = remove(&base)
    {
        tracing::warn!(path = %made.shown.display(), %error, "half a restore stays beside it");
    }
    built.map(|()| Some(made))
}

/// Files first, closed to everybody but root; owners and modes at the end, the innermost first.
fn build(from: &Path, base: &Path, entries: &[&Entry]) -> Result<(), CheckpointError> {
    let bad = |what| CheckpointError::Damaged { number: 0, what };
    let mut targets = Vec::with_capacity(entries.len());
    for entry in entries {
        let below = path_of(entry).map_err(bad)?;
        let to = if below.as_os_str().is_empty() { base.to_owned() } else { base.join(&below) };
        match &entry.kind {
            Kind::Directory => {
                std::fs::DirBuilder::new().mode(0o700).create(&to).map_err(at("make", &to))?;
            }
            Kind::Link { target } => {
                let target = decode(target).ok_or_else(|| bad(format!("{target:?} is no path")))?;
                std::os::unix::fs::symlink(target, &to).map_err(at("make", &to))?;
            }
            Kind::File { .. } => {
                let source = data(from, entry.root, &below);
                let mut source = File::open(&source).map_err(at("open", &source))?;
                let mut file = File::options()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&to)
                    .map_err(at("make", &to))?;
                if rustix::fs::ioctl_ficlone(&file, &source).is_err() {
                    std::io::copy(&mut source, &mut file).map_err(at("write", &to))?;
                }
                file.sync_all().map_err(at("write", &to))?;
            }
        }
        targets.push(to);
    }
    for (entry, to) in entries.iter().zip(&targets).rev() {
        std::os::unix::fs::lchown(to, Some(entry.uid), Some(entry.gid))
            .map_err(at("set the owner of", to))?;
        if !matches!(entry.kind, Kind::Link { .. }) {
            let mode = std::fs::Permissions::from_mode(entry.mode & MODE_BITS);
            std::fs::set_permissions(to, mode).map_err(at("set the mode of", to))?;
        }
        let time = Timespec { tv_sec: entry.modified.0, tv_nsec: entry.modified.1 as _ };
        let times = Timestamps { last_access: time, last_modification: time };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        utimensat(CWD, to, &times, flags).map_err(errno("set the time of", to))?;
    }
    Ok(())
}

/// Exchanges all, or none: an error takes back those that were.
fn exchange_all(made: &[Made]) -> Result<Vec<PathBuf>, CheckpointError> {
    for (index, one) in made.iter().enumerate() {
        let Err(error) = exchange(one) else { continue };
        for before in made[..index].iter().rev() {
            if let Err(error) = exchange(before) {
                tracing::error!(path = %before.shown.display(), %error, "the state before is beside it");
            }
        }
        return Err(error);
    }
    let mut replaced = Vec::new();
    for Made { directory, name, new, shown } in made {
        // Now it is the state before.
        let kept = beside(name, ".guard-replaced");
        let moved =
            remove(&through(directory, &kept)).map_err(at("remove", shown)).and_then(|()| {
                match renameat(directory, new, directory, &kept) {
                    Err(Errno::NOENT) => Ok(false),
                    other => other.map(|()| true).map_err(errno("keep the state before of", shown)),
                }
            });
        match moved {
            Ok(true) => replaced.push(shown.with_file_name(&kept)),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the state before is in another place"),
        }
        if let Err(error) = rustix::fs::fsync(directory) {
            tracing::warn!(path = %shown.display(), %error, "restored, but not on the disk yet");
        }
    }
    Ok(replaced)
}

/// Puts the new in the place of the old and the old in that of the new, at once where the file
/// system can.
fn exchange(Made { directory, name, new, shown }: &Made) -> Result<(), CheckpointError> {
    let failed = errno("put the restored state into", shown);
    match renameat_with(directory, new, directory, name, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // There was none.
        Err(Errno::NOENT) => renameat(directory, new, directory, name).map_err(failed),
        Err(Errno::INVAL | Errno::NOSYS) => {
            let aside = beside(name, ".guard-aside");
            renameat(directory, name, directory, &aside)
                .and_then(|()| renameat(directory, new, directory, name))
                .and_then(|()| renameat(directory, &aside, directory, new))
                .map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Removes whatever is there, without following a link.
fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}
