//! The log on real files, under damage, a full disk and SIGKILL; removals of real kernel objects.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::net::testing::is_root;

const WRITER_ENV: &str = "GUARD_TEST_UNDO_LOG";

fn dir_made(name: impl Into<PathBuf>) -> Undo {
    Undo::DirMade { path: name.into() }
}

fn whats(entries: &[Entry]) -> Vec<Undo> {
    entries.iter().map(|e| e.what.clone()).collect()
}

#[test]
fn what_is_open_comes_back_and_what_is_done_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state/of/guard");
    let (mut log, entries) = UndoLog::open(&state).unwrap();
    assert!(entries.is_empty());
    let first = log.intend(dir_made("/a")).unwrap();
    let second = log.intend(dir_made("/b")).unwrap();
    log.intend(dir_made("/c")).unwrap();
    log.done(second).unwrap();
    assert!(matches!(log.done(second), Err(LogError::NotOpen { .. })));
    drop(log);

    let (mut log, entries) = UndoLog::open(&state).unwrap();
    assert_eq!(whats(&entries), [dir_made("/a"), dir_made("/c")]);
    assert!(entries.iter().all(|e| e.same_boot));
    assert_eq!(entries[0].ticket, first, "tickets outlive the process");
    log.done(first).unwrap();
    let new = log.intend(dir_made("/d")).unwrap();
    assert!(new > entries[1].ticket, "numbers are never used again");
    drop(log);
    let text = std::fs::read_to_string(state.join("undo.log")).unwrap();
    let (_log, entries) = UndoLog::open(&state).unwrap();
    assert_eq!(whats(&entries), [dir_made("/c"), dir_made("/d")], "{text}");
}

#[test]
fn another_boot_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let record = record::Record {
        seq: 9,
        boot_id: "another".into(),
        kind: record::Kind::Intend,
        body: Some(Undo::Mounted { path: "/proc".into() }),
    };
    std::fs::write(dir.path().join("undo.log"), record.to_line().unwrap()).unwrap();
    let (_log, entries) = UndoLog::open(dir.path()).unwrap();
    assert!(!entries[0].same_boot);
    assert_eq!(undo(&entries[0]).unwrap(), UndoResult::Gone, "not what is mounted there now");
}

#[test]
fn a_second_owner_is_refused_with_the_first_ones_pid() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = UndoLog::open(dir.path()).unwrap();
    let error = UndoLog::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    drop(log);
    UndoLog::open(dir.path()).unwrap();
}

#[test]
fn a_log_cut_at_any_byte_loses_only_its_tail() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("undo.log");
    let (mut log, _) = UndoLog::open(dir.path()).unwrap();
    for name in ["/a", "/b", "/c"] {
        log.intend(dir_made(name)).unwrap();
    }
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..=whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let (log, entries) = UndoLog::open(dir.path()).unwrap();
        let kept = whole[..cut].split_inclusive(|b| *b == b'\n').filter(|l| l.ends_with(b"}\n"));
        let last_line = whole[..cut].rsplit(|b| *b == b'\n').next().unwrap();
        // A record that lacks nothing but its newline is good.
        let complete = usize::from(last_line.ends_with(b"}") && !last_line.is_empty());
        assert!(entries.len() >= kept.clone().count(), "cut at {cut}");
        assert!(entries.len() <= kept.count() + complete, "cut at {cut}");
        assert!(log.damage().len() <= 1 && log.damage().iter().all(|d| d.torn_tail));
    }
}

#[test]
fn garbage_in_the_middle_is_reported_and_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("undo.log");
    let (mut log, _) = UndoLog::open(dir.path()).unwrap();
    let first_length = {
        log.intend(dir_made("/a")).unwrap();
        std::fs::metadata(&path).unwrap().len()
    };
    log.intend(dir_made("/b")).unwrap();
    log.intend(dir_made("/c")).unwrap();
    drop(log);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[first_length as usize + 9] ^= 0x10;
    let at = bytes.len();
    bytes.extend_from_slice(b"\0\xff garbage\n\n");
    std::fs::write(&path, &bytes).unwrap();

    let (mut log, entries) = UndoLog::open(dir.path()).unwrap();
    assert_eq!(whats(&entries), [dir_made("/a"), dir_made("/c")]);
    let offsets: Vec<_> = log.damage().iter().map(|d| d.offset_bytes).collect();
    assert_eq!(offsets, [first_length, at as u64]);
    assert!(log.damage().iter().all(|d| !d.torn_tail && !d.reason.is_empty()));
    log.intend(dir_made("/d")).unwrap();
    drop(log);
    let (log, entries) = UndoLog::open(dir.path()).unwrap();
    assert_eq!(entries.len(), 3);
    assert!(log.damage().is_empty(), "rewritten without the garbage");
}

#[test]
fn it_does_not_grow_without_end() {
    let dir = tempfile::tempdir().unwrap();
    // On tmpfs fdatasync costs nothing; elsewhere this takes a second or two.
    let (mut log, _) = UndoLog::open(dir.path()).unwrap();
    let kept = log.intend(dir_made("/kept")).unwrap();
    for i in 0..1500 {
        let ticket = log.intend(dir_made(format!("/{i}/{}", "x".repeat(200)))).unwrap();
        log.done(ticket).unwrap();
    }
    assert!(std::fs::metadata(dir.path().join("undo.log")).unwrap().len() < 300 * 1024);
    assert_eq!(log.open_entries().len(), 1);
    log.done(kept).unwrap();
}

#[test]
fn root_a_full_disk_refuses_and_recovers() {
    if !is_root("root_a_full_disk_refuses_and_recovers") {
        return;
    }
    let body = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let options = Some("size=32k");
        mount(Some("guard-test"), dir.path(), Some("tmpfs"), MsFlags::empty(), options).unwrap();
        let (mut log, _) = UndoLog::open(dir.path()).unwrap();
        log.intend(dir_made("/before")).unwrap();
        let filler = dir.path().join("filler");
        std::fs::write(&filler, vec![0; 64 * 1024]).unwrap_err();
        // What is left of the log's page takes a few more records.
        let error = (0..1000).find_map(|i| log.intend(dir_made(format!("/full/{i}"))).err());
        let error = error.expect("the disk is full").to_string();
        assert!(error.contains("No space left") && error.contains("undo.log"), "{error}");
        let known = whats(&log.open_entries());
        std::fs::remove_file(&filler).unwrap();
        log.intend(dir_made("/after")).unwrap();
        drop(log);
        let (log, entries) = UndoLog::open(dir.path()).unwrap();
        assert!(log.damage().is_empty(), "no torn line in the middle: {:?}", log.damage());
        assert_eq!(whats(&entries), [known, vec![dir_made("/after")]].concat());
        drop(log);
        umount(dir.path()).unwrap();
    };
    std::thread::spawn(body).join().unwrap();
}

/// Not a test by itself: the child of the next one, which writes until it is killed.
#[test]
fn writer_child() {
    let Some(dir) = std::env::var_os(WRITER_ENV) else { return };
    let (mut log, _) = UndoLog::open(Path::new(&dir)).unwrap();
    for i in 0_u64.. {
        let ticket = log.intend(dir_made(format!("/{i}"))).unwrap();
        println!("\nintended {i}");
        if i % 2 == 0 {
            log.done(ticket).unwrap();
            println!("\ndone {i}");
        }
    }
}

#[test]
fn sigkill_loses_nothing_that_was_promised() {
    for round in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::tests::writer_child", "--nocapture"])
            .env(WRITER_ENV, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut promised = std::collections::BTreeSet::new();
        let mut done_of = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(i) = line.strip_prefix("intended ") {
                promised.insert(format!("/{i}"));
                if promised.len() == 40 + round {
                    child.kill().unwrap();
                }
            } else if let Some(i) = line.strip_prefix("done ") {
                promised.remove(&format!("/{i}"));
                done_of += 1;
            }
        }
        child.wait().unwrap();
        assert!(done_of > 10);
        let (log, entries) = UndoLog::open(dir.path()).unwrap();
        assert!(log.damage().iter().all(|d| d.torn_tail), "{:?}", log.damage());
        let open: std::collections::BTreeSet<_> = entries
            .iter()
            .map(|e| match &e.what {
                Undo::DirMade { path } => path.display().to_string(),
                other => panic!("{other:?}"),
            })
            .collect();
        // The child may have been one step further than what it could still print.
        let missing: Vec<_> = promised.difference(&open).collect();
        assert!(missing.len() <= 1, "{missing:?}");
        assert!(open.difference(&promised).count() <= 1);
    }
}

#[test]
fn directories_go_only_when_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = UndoLog::open(&dir.path().join("state")).unwrap();
    let (outer, inner) = (dir.path().join("outer"), dir.path().join("outer/inner"));
    for path in [&outer, &inner] {
        log.intend(dir_made(path)).unwrap();
        std::fs::create_dir(path).unwrap();
    }
    let foreign = inner.join("not-ours");
    std::fs::write(&foreign, "").unwrap();
    let results = recover_all(&mut log);
    assert!(
        results.iter().all(|r| matches!(r, UndoResult::LeftOver(why) if why.contains("not empty")))
    );
    assert_eq!(log.open_entries().len(), 2);

    std::fs::remove_file(&foreign).unwrap();
    assert_eq!(recover_all(&mut log), [UndoResult::Removed, UndoResult::Removed], "newest first");
    assert!(!outer.exists() && log.open_entries().is_empty());
    log.intend(dir_made(&outer)).unwrap();
    assert_eq!(recover_all(&mut log), [UndoResult::Gone]);
}

fn recover_all(log: &mut UndoLog) -> Vec<UndoResult> {
    let entries = log.open_entries();
    recover(log, entries).into_iter().map(|(_, result)| result.unwrap()).collect()
}

#[test]
fn root_kernel_objects_are_undone_and_others_spared() {
    if !is_root("root_kernel_objects_are_undone_and_others_spared") {
        return;
    }
    let body = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = UndoLog::open(&dir.path().join("state")).unwrap();
        let none = None::<&str>;

        // A cgroup with a process in it stays until the process has gone.
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        let cgroup2 = mounts.lines().find(|l| l.contains(" cgroup2 ")).unwrap();
        let cgroup = Path::new(cgroup2.split(' ').nth(1).unwrap())
            .join(format!("guard-test-undo-{}", std::process::id()));
        log.intend(Undo::CgroupMade { path: cgroup.clone() }).unwrap();
        std::fs::create_dir(&cgroup).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        std::fs::write(cgroup.join("cgroup.procs"), child.id().to_string()).unwrap();
        let busy = recover_all(&mut log);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            matches!(&busy[..], [UndoResult::LeftOver(why)] if why.contains("in use")),
            "{busy:?}"
        );
        assert_eq!(recover_all(&mut log), [UndoResult::Removed]);
        assert!(!cgroup.exists());

        // A bpffs of ours goes; a tmpfs that somebody put in its place stays, and so does a
        // plain file or directory where a pin or a cgroup was expected.
        let point = dir.path().join("a mount");
        std::fs::create_dir(&point).unwrap();
        log.intend(Undo::Mounted { path: point.clone() }).unwrap();
        mount(Some("bpf"), &point, Some("bpf"), MsFlags::empty(), none).unwrap();
        assert_eq!(recover_all(&mut log), [UndoResult::Removed]);
        log.intend(Undo::Mounted { path: point.clone() }).unwrap();
        assert_eq!(recover_all(&mut log), [UndoResult::Gone]);
        log.intend(Undo::Mounted { path: point.clone() }).unwrap();
        mount(Some("other"), &point, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        let file = point.join("file");
        std::fs::write(&file, "").unwrap();
        log.intend(Undo::PinMade { path: file.clone() }).unwrap();
        log.intend(Undo::CgroupMade { path: point.clone() }).unwrap();
        log.intend(Undo::PinMade { path: point.join("no/such/pin") }).unwrap();
        let results = recover_all(&mut log);
        assert_eq!(results[0], UndoResult::Gone);
        let spared =
            |r: &UndoResult| matches!(r, UndoResult::LeftOver(why) if why.contains("left alone"));
        assert!(results[1..].iter().all(spared), "{results:?}");
        assert!(file.exists());
        umount(&point).unwrap();

        // No systemd here that could have the unit, or an empty one: gone either way.
        log.intend(Undo::SystemdUnit { name: "guard-test-none.slice".into() }).unwrap();
        assert_eq!(recover_all(&mut log)[0], UndoResult::Gone);
    };
    std::thread::spawn(body).join().unwrap();
}
