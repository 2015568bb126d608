//! A log that only grows: one checked line for each record. It survives SIGKILL at any moment; a torn
//! last line is cut off at the next start, a damaged one is left out and counted. While the disk is full
//! or read-only, records wait in memory (a bounded number) and are written once it takes them again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::line::{from_line, to_line};
use super::replace::replace_file;

/// Lines that wait for the disk; the oldest give way.
const MOST_WAITING: usize = 10_000;

/// A log of records of one type.
#[derive(Debug)]
pub(crate) struct AppendLog<T> {
    path: PathBuf,
    file: Option<File>,
    /// Bytes of whole lines in the file; what is behind them is half a line. `None` = the file could
    /// not be read yet, so that nothing of it may be cut off.
    length: Option<u64>,
    waiting: Vec<String>,
    dropped: u64,
    problem: Option<String>,
    records: PhantomData<fn(T)>,
}

/// What was in the file.
#[derive(Debug)]
pub(crate) struct Found<T> {
    /// In the order in which they were written.
    pub(crate) records: Vec<T>,
    /// Lines that could not be read; each with its number and what is wrong with it.
    pub(crate) damaged: Vec<String>,
}

impl<T: Serialize + DeserializeOwned> AppendLog<T> {
    /// Opens or makes it. It never fails: without a file, records wait in memory.
    pub(crate) fn open(path: &Path) -> (Self, Found<T>) {
        let mut log = Self {
            path: path.to_owned(),
            file: None,
            length: None,
            waiting: Vec::new(),
            dropped: 0,
            problem: None,
            records: PhantomData,
        };
        let mut found = Found { records: Vec::new(), damaged: Vec::new() };
        // Read and written through two openings: what lies on a read-only disk can still be read.
        let bytes = match read_file(&log.path) {
            Ok(bytes) => {
                log.length = Some(whole_lines(&bytes) as u64);
                bytes
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                found.damaged.push(format!("what was in it is not known: {error}"));
                Vec::new()
            }
        };
        match log.reopen() {
            Ok(file) => log.file = Some(file),
            Err(error) => log.fail(&error),
        }
        let whole = whole_lines(&bytes);
        if whole < bytes.len() {
            found.damaged.push("the last line was cut off; it is removed".to_owned());
        }
        for (number, line) in (1..).zip(bytes[..whole].split(|byte| *byte == b'\n')) {
            if line.is_empty() {
                continue;
            }
            match from_line(line) {
                Ok(record) => found.records.push(record),
                Err(why) => found.damaged.push(format!("line {number}: {why}")),
            }
        }
        (log, found)
    }

    fn reopen(&self) -> io::Result<File> {
        OpenOptions::new().read(true).append(true).create(true).open(&self.path)
    }

    /// Writes a record; with `sync`, also to the disk itself, so that it outlives a power cut.
    pub(crate) fn push(&mut self, record: &T, sync: bool) {
        match to_line(record) {
            Ok(line) => self.waiting.push(line),
            Err(error) => tracing::error!(%error, "a record of a journal is no JSON: a bug"),
        }
        if self.waiting.len() > MOST_WAITING {
            self.waiting.remove(0);
            self.dropped += 1;
        }
        self.write(sync);
    }

    /// Writes what waits, if anything does.
    pub(crate) fn write(&mut self, sync: bool) {
        if self.waiting.is_empty() {
            return;
        }
        match self.try_write(sync) {
            Ok(()) => {
                self.waiting.clear();
                if self.problem.take().is_some() {
                    tracing::info!(path = %self.path.display(), "the journal is written again");
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn try_write(&mut self, sync: bool) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.reopen()?,
        };
        let length = match self.length {
            Some(length) => length,
            None => whole_lines(&read_file(&self.path)?) as u64,
        };
        self.length = Some(length);
        // Half a line of an earlier try.
        file.set_len(length)?;
        let text = self.waiting.concat();
        file.write_all(text.as_bytes())?;
        if sync {
            file.sync_data()?;
        }
        self.length = Some(length + text.len() as u64);
        self.file = Some(file);
        Ok(())
    }

    fn fail(&mut self, error: &io::Error) {
        let text = format!("{}: {error}", self.path.display());
        if self.problem.as_ref() != Some(&text) {
            tracing::error!(problem = text, "the journal is not written; it is kept in memory");
        }
        self.problem = Some(text);
    }

    /// Puts these records in the place of all that are in the file, at once or not at all.
    pub(crate) fn rewrite(&mut self, records: &[T]) {
        let lines: Result<Vec<String>, _> = records.iter().map(to_line).collect();
        let text = match lines {
            Ok(lines) => lines.concat(),
            Err(error) => return tracing::error!(%error, "a record of a journal is no JSON: a bug"),
        };
        let (Some(directory), Some(name)) =
            (self.path.parent(), self.path.file_name().and_then(|name| name.to_str()))
        else {
            return;
        };
        match replace_file(directory, name, text.as_bytes()) {
            Ok(()) => {
                self.file = None;
                self.length = Some(text.len() as u64);
            }
            Err(error) => tracing::warn!(%error, "the journal was not made shorter; it goes on"),
        }
    }

    /// Bytes in the file; 0 while that is not known.
    pub(crate) fn length_bytes(&self) -> u64 {
        self.length.unwrap_or(0)
    }

    /// Why it is not written, if so; and how many records were dropped meanwhile.
    pub(crate) fn problem(&self) -> Option<String> {
        let lost = match self.dropped {
            0 => String::new(),
            dropped => format!("; {dropped} lines were dropped"),
        };
        self.problem.as_ref().map(|problem| format!("{problem}{lost}"))
    }
}

/// The bytes of a regular file: a device or a pipe may have no end.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Length of these bytes up to their last newline.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Line {
        text: String,
    }

    fn line(text: &str) -> Line {
        Line { text: text.to_owned() }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (mut log, found) = AppendLog::<Line>::open(&path);
        assert!(found.records.is_empty());
        log.push(&line("a"), true);
        log.push(&line("b\nc"), false);
        drop(log);
        let (mut log, found) = AppendLog::<Line>::open(&path);
        assert_eq!(found.records, [line("a"), line("b\nc")]);
        log.rewrite(&[line("b")]);
        log.push(&line("d"), false);
        assert_eq!(AppendLog::<Line>::open(&path).1.records, [line("b"), line("d")]);
    }

    #[test]
    fn records_wait_for_a_place_to_be_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("not-there").join("log");
        let (mut log, _) = AppendLog::<Line>::open(&path);
        log.push(&line("a"), true);
        assert!(log.problem().unwrap().contains("not-there"));
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        log.push(&line("b"), false);
        assert_eq!(log.problem(), None);
        assert_eq!(AppendLog::<Line>::open(&path).1.records, [line("a"), line("b")]);
    }

    /// A small file system, unmounted at the end.
    struct Disk(tempfile::TempDir);

    impl Disk {
        fn of(bytes: usize) -> Self {
            let disk = Self(tempfile::tempdir().unwrap());
            disk.mount(&format!("size={bytes}"));
            disk
        }

        fn mount(&self, options: &str) {
            let run = std::process::Command::new("mount")
                .args(["-t", "tmpfs", "-o", options, "guard-test"])
                .arg(self.0.path())
                .status();
            assert!(run.unwrap().success(), "needs root");
        }

        fn log(&self) -> PathBuf {
            self.0.path().join("log")
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            let run = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
            assert!(run.unwrap().success());
        }
    }

    #[test]
    fn a_full_disk_costs_nothing() {
        let disk = Disk::of(64 << 10);
        let (mut log, _) = AppendLog::<Line>::open(&disk.log());
        log.push(&line("before"), true);
        let fill = disk.0.path().join("fill");
        // It ends with "no space left".
        std::fs::write(&fill, vec![0; 1 << 20]).unwrap_err();
        let long = "x".repeat(3000);
        (0..5).for_each(|_| log.push(&line(&long), true));
        assert!(log.problem().unwrap().contains("No space left"), "{:?}", log.problem());
        std::fs::remove_file(&fill).unwrap();
        log.push(&line("after"), true);
        assert_eq!(log.problem(), None);
        let found = AppendLog::<Line>::open(&disk.log()).1;
        assert!(found.damaged.is_empty(), "{found:?}");
        assert_eq!(found.records.len(), 7);
    }

    #[test]
    fn a_disk_that_is_read_only_at_the_start_loses_no_history() {
        let disk = Disk::of(1 << 20);
        AppendLog::<Line>::open(&disk.log()).0.push(&line("history"), true);
        disk.mount("remount,ro");
        let (mut log, found) = AppendLog::<Line>::open(&disk.log());
        assert_eq!(found.records, [line("history")]);
        assert!(log.problem().unwrap().contains("Read-only"));
        log.push(&line("meanwhile"), true);
        disk.mount("remount,rw");
        log.push(&line("after"), true);
        let all = ["history", "meanwhile", "after"].map(line);
        assert_eq!(AppendLog::<Line>::open(&disk.log()).1.records, all);
    }

    #[test]
    fn a_file_that_comes_late_is_added_to() {
        let dir = tempfile::tempdir().unwrap();
        let (here, away) = (dir.path().join("here"), dir.path().join("away"));
        std::fs::create_dir(&here).unwrap();
        AppendLog::<Line>::open(&here.join("log")).0.push(&line("history"), true);
        std::fs::rename(&here, &away).unwrap();
        let (mut log, _) = AppendLog::<Line>::open(&here.join("log"));
        std::fs::rename(&away, &here).unwrap();
        log.push(&line("after"), true);
        let all = ["history", "after"].map(line);
        assert_eq!(AppendLog::<Line>::open(&here.join("log")).1.records, all);
    }

    #[test]
    fn what_is_no_file_is_neither_read_nor_written() {
        let (mut log, found) = AppendLog::<Line>::open(Path::new("/dev/full"));
        assert!(found.damaged[0].contains("no regular file"), "{found:?}");
        log.push(&line("a"), false);
        assert!(log.problem().is_some());
    }

    proptest! {
        #[test]
        fn a_cut_or_a_changed_byte_costs_no_more_than_its_line(at: usize, flip: u8) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let (mut log, _) = AppendLog::<Line>::open(&path);
            let all: Vec<Line> = (0..6).map(|n| line(&format!("record {n}"))).collect();
            for record in &all {
                log.push(record, false);
            }
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at % bytes.len();
            if flip == 0 { bytes.truncate(at) } else { bytes[at] ^= flip }
            std::fs::write(&path, &bytes).unwrap();
            let (mut log, found) = AppendLog::<Line>::open(&path);
            // A changed newline joins two lines.
            let lost = all.len() - found.records.len();
            prop_assert!(flip == 0 || lost <= 2, "{found:?}");
            prop_assert!(found.records.iter().all(|record| all.contains(record)));
            log.push(&line("next"), false);
            let again = AppendLog::<Line>::open(&path).1.records;
            prop_assert_eq!(again.last(), Some(&line("next")));
        }
    }
}
