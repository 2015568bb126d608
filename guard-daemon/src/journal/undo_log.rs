//! The undo log: `state_dir/undo.log`, one checksummed JSON line per intention and per removal.
//! An intention is on the disk before the thing is made, so whatever kills guardd, the next life
//! knows what may be there. It is append-only; it is rewritten (with what is still open) at open
//! and when it has grown.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;

use super::lock;
use super::record::{Kind, Record, Undo};

/// Name of the file.
const LOG_FILE: &str = "undo.log";
/// Where it is rewritten.
const TEMPORARY_FILE: &str = "undo.log.new";
/// Beyond this size it is rewritten, if most of it is history.
const COMPACT_BYTES: u64 = 256 * 1024;
/// The kernel's identity of this boot.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// The log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process has it.
    #[error(
        "{}: in use by process {holder}; stop that guardd, or give this one another state_dir",
        path.display()
    )]
    InUse {
        /// The lock file.
        path: PathBuf,
        /// Its process id; `unknown` if it has just started.
        holder: String,
    },
    /// The file system said no. After a failed `intend` nothing may be made.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The ticket is not open: done twice, or of another log.
    #[error("undo log: entry {seq} is not open; it was marked undone before")]
    NotOpen {
        /// Its number.
        seq: u64,
    },
}

/// Handle of an open entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// An entry that an earlier life left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// For [`UndoLog::done`].
    pub ticket: Ticket,
    /// What it may have put on the host.
    pub what: Undo,
    /// Whether the host has not been rebooted since. If it has, only files can remain.
    pub same_boot: bool,
}

/// A part of the log that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where the bad line began, bytes from the start of the file.
    pub offset_bytes: u64,
    /// Its length, bytes.
    pub length_bytes: u64,
    /// What is wrong with it.
    pub reason: String,
    /// Whether it was the last, unfinished line: what a crash in the middle of a write leaves.
    pub torn_tail: bool,
}

/// The log, open for writing, and the lock on its directory.
#[derive(Debug)]
pub struct UndoLog {
    state_dir: PathBuf,
    file: File,
    /// Bytes of good records in the file.
    length: u64,
    /// What it had after it was rewritten last, bytes.
    kept: u64,
    boot_id: String,
    next_seq: u64,
    /// Open entries: their boot id and what they are.
    open: BTreeMap<u64, (String, Undo)>,
    damage: Vec<Damage>,
    _lock: Flock<File>,
}

impl UndoLog {
    /// Opens the log of a state directory (made, 0700, if absent), and returns what an earlier
    /// life left open, in the order in which it was made. Only one process can have it open.
    pub fn open(state_dir: &Path) -> Result<(Self, Vec<Entry>), LogError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)
            .map_err(at("make", state_dir))?;
        let lock = lock::take(state_dir)?;
        let path = state_dir.join(LOG_FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(at("read", &path)(e)),
        };
        let boot_id_file = Path::new(BOOT_ID_FILE);
        let boot_id = std::fs::read_to_string(boot_id_file).map_err(at("read", boot_id_file))?;
        let boot_id = boot_id.trim().to_owned();
        let (records, damage) = read_records(&bytes);
        for bad in &damage {
            tracing::warn!(path = %path.display(), ?bad, "undo log: a line cannot be read");
        }
        let next_seq = records.iter().map(|r| r.seq).max().unwrap_or(0) + 1;
        let mut open = BTreeMap::new();
        for record in records {
            match (record.kind, record.body) {
                (Kind::Intend, Some(body)) => {
                    open.insert(record.seq, (record.boot_id, body));
                }
                _ => {
                    open.remove(&record.seq);
                }
            }
        }
        let entries = open
            .iter()
            .map(|(seq, (boot, what))| Entry {
                ticket: Ticket(*seq),
                what: what.clone(),
                same_boot: *boot == boot_id,
            })
            .collect();
        let (file, length) = rewrite(state_dir, &open)?;
        let state_dir = state_dir.to_owned();
        let log = Self {
            state_dir,
            file,
            length,
            kept: length,
            boot_id,
            next_seq,
            open,
            damage,
            _lock: lock,
        };
        Ok((log, entries))
    }

    /// What could not be read at open. Whatever those lines announced may still be on the host.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Open entries now, oldest first.
    pub fn open_entries(&self) -> Vec<Entry> {
        let entry = |(seq, (boot, what)): (&u64, &(String, Undo))| Entry {
            ticket: Ticket(*seq),
            what: what.clone(),
            same_boot: *boot == self.boot_id,
        };
        self.open.iter().map(entry).collect()
    }

    /// Announces that `what` is about to be put on the host. Returns when it is on the disk; on
    /// an error it must not be made. If making it fails, or it turns out to be there already and
    /// so is not ours, call [`UndoLog::done`] at once.
    pub fn intend(&mut self, what: Undo) -> Result<Ticket, LogError> {
        let ticket = Ticket(self.next_seq);
        self.intend_all(vec![what]).map(|_| ticket)
    }

    /// The same for several things, with one wait for the disk: a thousand waits take seconds.
    /// The tickets are in their order.
    pub fn intend_all(&mut self, all: Vec<Undo>) -> Result<Vec<Ticket>, LogError> {
        let first = self.next_seq;
        let entries: Vec<_> = (first..).zip(all).collect();
        let records = entries.iter().map(|(seq, what)| Record {
            seq: *seq,
            boot_id: self.boot_id.clone(),
            kind: Kind::Intend,
            body: Some(what.clone()),
        });
        let records: Vec<_> = records.collect();
        self.append(&records)?;
        self.next_seq += entries.len() as u64;
        let boot_id = self.boot_id.clone();
        self.open.extend(entries.into_iter().map(|(seq, what)| (seq, (boot_id.clone(), what))));
        Ok((first..self.next_seq).map(Ticket).collect())
    }

    /// Notes that it is off the host again. On an error the entry stays open, and the next life
    /// tries to remove what is no longer there, which does no harm.
    pub fn done(&mut self, ticket: Ticket) -> Result<(), LogError> {
        self.done_all(&[ticket])
    }

    /// The same for several, with one wait for the disk.
    pub fn done_all(&mut self, tickets: &[Ticket]) -> Result<(), LogError> {
        if let Some(unknown) = tickets.iter().find(|ticket| !self.open.contains_key(&ticket.0)) {
            return Err(LogError::NotOpen { seq: unknown.0 });
        }
        let done = |ticket: &Ticket| Record {
            seq: ticket.0,
            boot_id: self.boot_id.clone(),
            kind: Kind::Done,
            body: None,
        };
        let records: Vec<_> = tickets.iter().map(done).collect();
        self.append(&records)?;
        for ticket in tickets {
            self.open.remove(&ticket.0);
        }
        // Many short faults would make it grow without end. Of what is still open nothing can be
        // left out: rewritten at each of a thousand ends, it would take a thousand times the time.
        if self.length > COMPACT_BYTES.max(2 * self.kept) {
            (self.file, self.length) = rewrite(&self.state_dir, &self.open)?;
            self.kept = self.length;
        }
        Ok(())
    }

    fn append(&mut self, records: &[Record]) -> Result<(), LogError> {
        let path = self.state_dir.join(LOG_FILE);
        let mut lines = String::new();
        for record in records {
            lines += &record.to_line().map_err(|e| at("encode a record for", &path)(e.into()))?;
        }
        if lines.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // Take back what may have been written, so that the next record does not continue
            // a torn line.
            let length = self.length;
            let restored =
                self.file.set_len(length).and_then(|()| self.file.seek(SeekFrom::Start(length)));
            if let Err(error) = restored {
                tracing::error!(path = %path.display(), %error, "undo log: a torn line stays");
            }
            return Err(at("write", &path)(source));
        }
        self.length += lines.len() as u64;
        Ok(())
    }
}

/// Splits a log into good records and damage.
fn read_records(bytes: &[u8]) -> (Vec<Record>, Vec<Damage>) {
    let (mut records, mut damage) = (Vec::new(), Vec::new());
    let mut offset = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let torn_tail = !line.ends_with(b"\n");
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if !text.is_empty() {
            match Record::from_line(text) {
                Ok(record) => records.push(record),
                Err(reason) => damage.push(Damage {
                    offset_bytes: offset,
                    length_bytes: line.len() as u64,
                    reason,
                    torn_tail,
                }),
            }
        }
        offset += line.len() as u64;
    }
    (records, damage)
}

/// Writes a new log with the open entries and puts it in the place of the old one; a crash at
/// any point leaves one of the two, whole.
fn rewrite(
    state_dir: &Path,
    open: &BTreeMap<u64, (String, Undo)>,
) -> Result<(File, u64), LogError> {
    let temporary = state_dir.join(TEMPORARY_FILE);
    let path = state_dir.join(LOG_FILE);
    let mut text = String::new();
    for (seq, (boot_id, what)) in open {
        let record = Record {
            seq: *seq,
            boot_id: boot_id.clone(),
            kind: Kind::Intend,
            body: Some(what.clone()),
        };
        text += &record.to_line().map_err(|e| at("encode a record for", &path)(e.into()))?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(at("open", &temporary))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(at("write", &temporary))?;
    std::fs::rename(&temporary, &path).map_err(at("rename into place", &path))?;
    // The rename itself is on the disk only when the directory is.
    File::open(state_dir).and_then(|dir| dir.sync_all()).map_err(at("synchronise", state_dir))?;
    Ok((file, text.len() as u64))
}

/// An I/O error with its place.
fn at(action: &'static str, path: &Path) -> impl Fn(io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io { action, path: path.clone(), source }
}
