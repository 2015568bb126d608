//! Programs that take the places of an earlier life's, on the running kernel: needs root.
#![allow(clippy::unwrap_used, reason = "helpers of tests, where a panic is the report")]

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use guard_daemon::cgroup::Hierarchy;
use guard_daemon::journal::{OwnBpffs, UndoLog};
use guard_daemon::kernel::{Attached, Kernel, LoadOptions, Pins};

/// A cgroup and a bpffs of the test's own; both go with it.
struct Host {
    cgroup: PathBuf,
    bpffs: OwnBpffs,
    undo: UndoLog,
    _state: tempfile::TempDir,
}

impl Host {
    fn new(name: &str) -> Self {
        let state = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy::discover().unwrap();
        let name = format!("guard-test-{name}-{}", std::process::id());
        let cgroup = hierarchy.mount_point().join(name);
        std::fs::create_dir(&cgroup).unwrap();
        let (mut undo, _) = UndoLog::open(state.path()).unwrap();
        let mut bpffs = OwnBpffs::new(state.path().join("pins"));
        bpffs.mount(&mut undo).unwrap();
        Self { cgroup, bpffs, undo, _state: state }
    }

    fn pins(&self) -> PathBuf {
        self.bpffs.path().join("life")
    }

    /// A life that attaches its programs and leaves them there.
    fn live(&self) -> Attached {
        let pins = Pins::below(self.pins());
        pins.make().unwrap();
        let options = LoadOptions { pairs: 100, endpoints: 100, breakers: 100, limits: 100 };
        let mut kernel = Kernel::load(options, Some(&pins)).unwrap();
        let cgroup = File::open(&self.cgroup).unwrap();
        let id = cgroup.metadata().unwrap().ino();
        kernel.attach(&cgroup, id, Path::new("test"), 1, 15).unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = self.bpffs.unmount(&mut self.undo) {
            eprintln!("{error}");
        }
        if let Err(error) = std::fs::remove_dir(&self.cgroup) {
            eprintln!("{}: {error}", self.cgroup.display());
        }
    }
}

#[test]
fn root_a_program_takes_a_place_only_where_its_identity_is() {
    let test = "a_program_takes_a_place_only_where_its_identity_is";
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED {test}: loading programs needs root");
        return;
    }
    let host = Host::new("takeover");
    assert!(!host.live().is_taken_over(), "there was nothing to take over");
    assert!(host.live().is_taken_over());
    // The next life keeps identities in another map: the storage that the kernel has made for these
    // places is not that map's, and old kernels do not look.
    std::fs::remove_file(host.pins().join("maps/BULKHEAD")).unwrap();
    assert!(!host.live().is_taken_over());
    assert!(host.live().is_taken_over());
}
