//! Copies the state of an agent, in two passes: a first one while the agent runs, and a second one
//! while it stands still, which copies again only what has changed in between.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glob::Pattern;
use rustix::fs::{AtFlags, Dir, FileType, Mode, Stat, fstat, fstatfs, openat, readlinkat, statat};
use rustix::io::Errno;

use super::error::{CheckpointError, at, errno};
use super::manifest::{Entry, Kind, decode, encode};
use super::open::{LOOK, parent};
use super::store::data;
use super::{MAX_BYTES, MAX_DEPTH, MAX_ENTRIES, Settings};

/// `TMPFS_MAGIC`: writes through a mapping do not change a file's times there.
const TMPFS: i64 = 0x0102_1994;
/// Two changes closer than this may bear the same time: clocks of file systems tick with the kernel.
const TICK: Duration = Duration::from_millis(50);
/// Bytes copied between two looks at the clock.
const CHUNK_BYTES: usize = 8 << 20;

/// What a file was when it was copied; what is still the same need not be copied again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    place: (u64, u64),
    bytes: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seen {
    fn of(stat: &Stat) -> Self {
        Self {
            place: (stat.st_dev, stat.st_ino),
            bytes: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }

    /// Whether a later change is sure to bear another time.
    fn is_old(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::new(
            u64::try_from(self.changed.0).unwrap_or(0),
            u32::try_from(self.changed.1).unwrap_or(0),
        );
        changed + TICK < now
    }
}

type Key = (usize, PathBuf);

/// The copy being made.
pub(super) struct Copier<'a> {
    settings: &'a Settings,
    exclude: Vec<Pattern>,
    target: &'a Path,
    /// Files that need no second copy if they are still so.
    seen: HashMap<Key, Seen>,
    /// What the last pass found, directories before what is in them.
    pub(super) entries: BTreeMap<Key, Entry>,
    /// What the last pass left out.
    pub(super) skipped: Vec<String>,
    bytes: u64,
    deadline: Option<Instant>,
}

impl<'a> Copier<'a> {
    pub(super) fn new(settings: &'a Settings, target: &'a Path) -> Result<Self, CheckpointError> {
        let pattern = |text: &String| {
            Pattern::new(text).map_err(|error| CheckpointError::Pattern {
                pattern: text.clone(),
                reason: error.to_string(),
            })
        };
        Ok(Self {
            settings,
            exclude: settings.exclude.iter().map(pattern).collect::<Result<_, _>>()?,
            target,
            seen: HashMap::new(),
            entries: BTreeMap::new(),
            skipped: Vec::new(),
            bytes: 0,
            deadline: None,
        })
    }

    /// Looks at everything, and copies what has no good copy yet. With a deadline it is the last
    /// pass, while the agent stands still.
    pub(super) fn pass(&mut self, deadline: Option<Instant>) -> Result<(), CheckpointError> {
        let before = std::mem::take(&mut self.entries);
        self.skipped.clear();
        (self.bytes, self.deadline) = (0, deadline);
        for (root, path) in self.settings.paths.iter().enumerate() {
            let Some((directory, name)) = parent(path)? else {
                self.skipped.push(format!("{}: not there", path.display()));
                continue;
            };
            self.visit(&directory, &name, (root, PathBuf::new()), None, 0)?;
        }
        if self.entries.is_empty() {
            return Err(CheckpointError::NoState(self.settings.paths.clone()));
        }
        // The innermost first: copies of what is gone since the pass before.
        for (key, entry) in before.into_iter().rev() {
            let same = self.entries.get(&key).is_some_and(|now| {
                std::mem::discriminant(&now.kind) == std::mem::discriminant(&entry.kind)
            });
            if !same && !matches!(entry.kind, Kind::Link { .. }) && !self.entries.contains_key(&key)
            {
                self.discard(&key)?;
            }
        }
        Ok(())
    }

    fn discard(&self, (root, path): &Key) -> Result<(), CheckpointError> {
        let copy = data(self.target, *root, path);
        let removed = match std::fs::symlink_metadata(&copy) {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(&copy),
            Ok(_) => std::fs::remove_file(&copy),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        };
        removed.map_err(at("remove", &copy))
    }

    fn in_time(&self) -> Result<(), CheckpointError> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => {
                Err(CheckpointError::TooSlow { limit_ms: self.settings.max_freeze.as_millis() })
            }
            _ => Ok(()),
        }
    }

    /// Where something of the agent's is, for people.
    fn shown(&self, (root, path): &Key) -> String {
        self.settings.paths[*root].join(path).display().to_string()
    }

    fn visit(
        &mut self,
        directory: &OwnedFd,
        name: &Path,
        key: Key,
        device: Option<u64>,
        depth: usize,
    ) -> Result<(), CheckpointError> {
        self.in_time()?;
        let shown = PathBuf::from(self.shown(&key));
        if self.entries.len() >= MAX_ENTRIES {
            return Err(CheckpointError::TooLarge(format!("more than {MAX_ENTRIES} files")));
        }
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Gone since the directory was read, or a state path that is not there (yet).
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(errno("look at", &shown))?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Symlink && depth == 0 {
            return Err(CheckpointError::Link(shown));
        }
        if kind == FileType::Symlink {
            let target = readlinkat(directory, name, Vec::new()).map_err(errno("read", &shown))?;
            let target = encode(Path::new(std::ffi::OsStr::new(
                &<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(
                    target.into_bytes(),
                ),
            )));
            self.note(key, &stat, Kind::Link { target });
            return Ok(());
        }
        if kind != FileType::Directory && kind != FileType::RegularFile {
            // Not opened: to open a device or a fifo may do something.
            self.skipped.push(format!("{}: not a file or directory", shown.display()));
            return Ok(());
        }
        let open = match openat(directory, name, LOOK, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            // Turned into a link or something else this moment.
            Err(Errno::LOOP | Errno::NXIO) => {
                self.skipped.push(format!("{}: changed while it was read", shown.display()));
                return Ok(());
            }
            other => other.map_err(errno("open", &shown))?,
        };
        let stat = fstat(&open).map_err(errno("look at", &shown))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if device.is_some_and(|device| device != stat.st_dev) => {
                self.skipped.push(format!("{}: another file system", shown.display()));
                Ok(())
            }
            FileType::Directory if depth >= MAX_DEPTH => Err(CheckpointError::TooLarge(format!(
                "{} is deeper than {MAX_DEPTH} directories",
                shown.display()
            ))),
            FileType::Directory => self.directory(&open, &key, &stat, depth),
            FileType::RegularFile => self.file(open, key, &shown),
            _ => Ok(()),
        }
    }

    fn directory(
        &mut self,
        open: &OwnedFd,
        key: &Key,
        stat: &Stat,
        depth: usize,
    ) -> Result<(), CheckpointError> {
        let copy = data(self.target, key.0, &key.1);
        if !copy.is_dir() {
            self.discard(key)?;
            std::fs::create_dir(&copy).map_err(at("make", &copy))?;
        }
        let shown = PathBuf::from(self.shown(key));
        self.note(key.clone(), stat, Kind::Directory);
        for entry in Dir::read_from(open).map_err(errno("read", &shown))? {
            let entry = entry.map_err(errno("read", &shown))?;
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let name = PathBuf::from(
                <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes.to_vec()),
            );
            if self.exclude.iter().any(|pattern| pattern.matches_path(&name)) {
                continue;
            }
            let below = (key.0, key.1.join(&name));
            self.visit(open, &name, below, Some(stat.st_dev), depth + 1)?;
        }
        Ok(())
    }

    fn file(&mut self, open: OwnedFd, key: Key, shown: &Path) -> Result<(), CheckpointError> {
        let last = self.deadline.is_some();
        let on_tmpfs = fstatfs(&open).is_ok_and(|fs| fs.f_type == TMPFS);
        // Written back, so that a later write through a mapping is noticed by the file's times.
        let settled = last || (!on_tmpfs && rustix::fs::fdatasync(&open).is_ok());
        let stat = fstat(&open).map_err(errno("look at", shown))?;
        let seen = Seen::of(&stat);
        self.bytes = self.bytes.saturating_add(stat.st_size as u64);
        if self.bytes > MAX_BYTES {
            return Err(CheckpointError::TooLarge(format!("more than {} GiB", MAX_BYTES >> 30)));
        }
        let sure = seen.is_old() && settled;
        let kind = Kind::File { bytes: stat.st_size as u64, blake3: String::new() };
        if self.seen.get(&key) != Some(&seen) {
            self.discard(&key)?;
            let copy = data(self.target, key.0, &key.1);
            self.copy(open, &copy, shown)?;
            if sure {
                self.seen.insert(key.clone(), seen);
            } else {
                self.seen.remove(&key);
            }
        }
        self.note(key, &stat, kind);
        Ok(())
    }

    /// Shares the blocks where the file system can, else copies in the kernel, holes left out where
    /// it does that.
    fn copy(&self, from: OwnedFd, to: &Path, shown: &Path) -> Result<(), CheckpointError> {
        let copy = File::create_new(to).map_err(at("make", to))?;
        if rustix::fs::ioctl_ficlone(&copy, from.as_fd()).is_ok() {
            return Ok(());
        }
        let from = File::from(from);
        let mut done = 0_u64;
        loop {
            self.in_time()?;
            if done > MAX_BYTES {
                return Err(CheckpointError::TooLarge(format!("{} grows", shown.display())));
            }
            // By copy_file_range, or by reading and writing where that cannot be done.
            let mut part = std::io::Read::take(&from, CHUNK_BYTES as u64);
            let copied = std::io::copy(&mut part, &mut &copy).map_err(at("copy", shown))?;
            if copied == 0 {
                return Ok(());
            }
            done += copied;
        }
    }

    fn note(&mut self, key: Key, stat: &Stat, kind: Kind) {
        let entry = Entry {
            root: key.0,
            path: encode(&key.1),
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
        };
        self.entries.insert(key, entry);
    }
}

/// The path of an entry below its state path.
pub(super) fn path_of(entry: &Entry) -> Result<PathBuf, String> {
    decode(&entry.path).ok_or_else(|| format!("{:?} is no path", entry.path))
}
