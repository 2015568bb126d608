//! Saves and restores in real directories, with agents that try to break out.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::manifest::{Manifest, decode, encode};
use super::*;

struct Rig {
    home: tempfile::TempDir,
    settings: Settings,
}

impl Rig {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(home.path()).unwrap();
        fs::create_dir(root.join("state")).unwrap();
        let settings = Settings {
            directory: root.join("checkpoints/agent"),
            paths: vec![root.join("state")],
            exclude: vec!["*.tmp".into()],
            keep: 3,
            verify: true,
            max_freeze: Duration::from_secs(5),
        };
        Self { home, settings }
    }

    fn state(&self, name: &str) -> std::path::PathBuf {
        self.settings.paths[0].join(name)
    }
}

/// Changes the state between the passes, as an agent does until it stands still.
struct Fake {
    before: Box<dyn FnMut() + Send>,
    thawed: Arc<AtomicUsize>,
}

impl Freezer for Fake {
    fn freeze(&mut self) -> Result<(), String> {
        (self.before)();
        Ok(())
    }

    fn thaw(&mut self) -> Result<(), String> {
        self.thawed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn fake(before: impl FnMut() + Send + 'static) -> (Option<Box<dyn Freezer>>, Arc<AtomicUsize>) {
    let thawed = Arc::<AtomicUsize>::default();
    (Some(Box::new(Fake { before: Box::new(before), thawed: Arc::clone(&thawed) })), thawed)
}

#[test]
fn what_changes_before_the_freeze_is_in_it() {
    let rig = Rig::new();
    for name in ["same", "grown", "gone", "x.tmp"] {
        fs::write(rig.state(name), "old").unwrap();
    }
    fs::create_dir(rig.state("d")).unwrap();
    fs::write(rig.state("d/f"), "deep").unwrap();
    fs::set_permissions(rig.state("d/f"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("/etc/passwd", rig.state("link")).unwrap();
    let state = rig.settings.paths[0].clone();
    let (freezer, thawed) = fake(move || {
        fs::write(state.join("grown"), "new and longer").unwrap();
        fs::remove_file(state.join("gone")).unwrap();
        fs::write(state.join("late"), "late").unwrap();
    });
    let saved = save(&rig.settings, freezer).unwrap();
    assert_eq!((saved.number, thawed.load(Ordering::Relaxed)), (1, 1));
    fs::remove_dir_all(&rig.settings.paths[0]).unwrap();
    fs::create_dir(&rig.settings.paths[0]).unwrap();
    fs::write(rig.state("junk"), "junk").unwrap();
    let restored = restore(&rig.settings, None).unwrap();
    assert_eq!(restored.number, 1);
    assert_eq!(fs::read_to_string(rig.state("same")).unwrap(), "old");
    assert_eq!(fs::read_to_string(rig.state("grown")).unwrap(), "new and longer");
    assert_eq!(fs::read_to_string(rig.state("late")).unwrap(), "late");
    assert_eq!(fs::metadata(rig.state("d/f")).unwrap().mode() & 0o777, 0o640);
    assert_eq!(fs::read_link(rig.state("link")).unwrap(), Path::new("/etc/passwd"));
    for name in ["gone", "x.tmp", "junk"] {
        assert!(!rig.state(name).exists(), "{name}");
    }
    let kept = &restored.replaced[0];
    assert_eq!(fs::read_to_string(kept.join("junk")).unwrap(), "junk");
    let left: Vec<_> =
        fs::read_dir(rig.home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn the_newest_that_is_damaged_is_passed_over_and_the_oldest_pruned() {
    let rig = Rig::new();
    for n in 1..=5 {
        fs::write(rig.state("n"), n.to_string()).unwrap();
        assert_eq!(save(&rig.settings, None).unwrap().number, n);
    }
    let numbers: Vec<u64> =
        list(&rig.settings.directory).unwrap().iter().map(|listed| listed.number).collect();
    assert_eq!(numbers, [5, 4, 3]);
    fs::write(rig.settings.directory.join("000005/data/0/n"), "6").unwrap();
    fs::write(rig.settings.directory.join("000004/manifest.json"), "{}").unwrap();
    let restored = restore(&rig.settings, None).unwrap();
    assert_eq!(restored.number, 3);
    assert_eq!(restored.skipped.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [5, 4]);
    assert_eq!(fs::read_to_string(rig.state("n")).unwrap(), "3");
    fs::remove_dir_all(rig.settings.directory.join("000003")).unwrap();
    let error = restore(&rig.settings, None).unwrap_err().to_string();
    assert!(error.contains("no good checkpoint") && error.contains("5: "), "{error}");
    assert_eq!(fs::read_to_string(rig.state("n")).unwrap(), "3");
}

#[test]
fn an_agent_cannot_make_guard_follow_its_links() {
    let rig = Rig::new();
    let secret = rig.home.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "secret").unwrap();
    fs::write(rig.state("own"), "own").unwrap();
    symlink(&secret, rig.state("dir")).unwrap();
    save(&rig.settings, None).unwrap();
    let copied = rig.settings.directory.join("000001/data/0/dir");
    assert!(fs::symlink_metadata(&copied).is_err(), "links are in the manifest alone");
    // The state path itself becomes a link: neither read nor written through.
    fs::rename(&rig.settings.paths[0], rig.home.path().join("moved")).unwrap();
    symlink(&secret, &rig.settings.paths[0]).unwrap();
    assert!(matches!(save(&rig.settings, None), Err(CheckpointError::Link(_))));
    restore(&rig.settings, None).unwrap();
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(rig.state("own")).unwrap(), "own");
    // And a directory on the way to it.
    let mut deeper = rig.settings.clone();
    deeper.paths = vec![rig.state("dir/key")];
    assert!(matches!(save(&deeper, None), Err(CheckpointError::Link(_))));
}

#[test]
fn devices_and_fifos_are_left_out_and_told() {
    let rig = Rig::new();
    nix::unistd::mkfifo(&rig.state("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let saved = save(&rig.settings, None).unwrap();
    assert_eq!(saved.skipped.len(), 1, "{:?}", saved.skipped);
}

#[test]
fn the_agent_goes_on_in_time_though_the_work_hangs_or_fails() {
    let rig = Rig::new();
    fs::write(rig.state("f"), "f").unwrap();
    let mut settings = rig.settings.clone();
    settings.max_freeze = Duration::from_millis(50);
    let (freezer, thawed) = fake(|| std::thread::sleep(Duration::from_millis(80)));
    let error = save(&settings, freezer).unwrap_err();
    assert!(matches!(error, CheckpointError::TooSlow { .. }), "{error}");
    assert_eq!(thawed.load(Ordering::Relaxed), 1);
    assert!(list(&settings.directory).unwrap().is_empty());
    // The thread that thaws does not wait for the one that works.
    let (freezer, thawed) = fake(|| {});
    let frozen = freeze::Frozen::begin(freezer.unwrap(), Duration::from_millis(30)).unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    while thawed.load(Ordering::Relaxed) == 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(thawed.load(Ordering::Relaxed), 1);
    assert!(frozen.end().unwrap().overdue);
    // Nor for one that panics.
    let (freezer, thawed) = fake(|| {});
    let panicked = std::thread::spawn(move || {
        let _frozen = freeze::Frozen::begin(freezer.unwrap(), Duration::from_mins(1)).unwrap();
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(panicked.join().is_err());
    assert_eq!(thawed.load(Ordering::Relaxed), 1);
}

#[test]
fn a_directory_that_cannot_be_written_and_state_that_is_not_there() {
    let rig = Rig::new();
    let mut settings = rig.settings.clone();
    fs::write(rig.home.path().join("file"), "").unwrap();
    settings.directory = rig.home.path().join("file/agent");
    assert!(matches!(save(&settings, None), Err(CheckpointError::Io { .. })));
    let mut settings = rig.settings.clone();
    settings.paths = vec![rig.home.path().join("nowhere")];
    assert!(matches!(save(&settings, None), Err(CheckpointError::NoState(_))));
    assert!(list(&settings.directory).unwrap().is_empty());
}

proptest! {
    #[test]
    fn paths_of_any_bytes_come_back(bytes in proptest::collection::vec(1_u8..=255, 0..40)) {
        let path = std::path::PathBuf::from(
            <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes));
        prop_assert_eq!(decode(&encode(&path)), Some(path));
    }

    #[test]
    fn a_manifest_with_a_flipped_bit_is_refused(at in 0_usize..400, bit in 0_u8..7) {
        let manifest = Manifest {
            schema: "guard.checkpoint/1".into(),
            time: "2026-01-02T03:04:05Z".into(),
            frozen_seconds: 0.1,
            roots: vec!["/srv/agent".into()],
            entries: Vec::new(),
            skipped: Vec::new(),
        };
        let good = manifest.to_text().unwrap();
        let at = at % (good.len() - 1);
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1 << bit;
        if let Ok(text) = String::from_utf8(bytes) {
            prop_assert!(Manifest::from_text(&text).is_err());
        }
        prop_assert_eq!(Manifest::from_text(&good).unwrap(), manifest);
    }
}
