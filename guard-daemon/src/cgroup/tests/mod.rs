//! Against the real cgroup2 file system, in cgroups of unique names. They need root; without it
//! each says that it is skipped.

use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::plan::CgroupRoot;

mod systemd_place;

/// A scratch cgroup; removed with all below it, after a panic too.
struct Scratch {
    hierarchy: Hierarchy,
    path: PathBuf,
}

impl Scratch {
    fn new(test: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED {test}: it makes cgroups, which needs root");
            return None;
        }
        let hierarchy = match Hierarchy::discover() {
            Ok(hierarchy) => hierarchy,
            Err(error) => {
                eprintln!("SKIPPED {test}: {error}");
                return None;
            }
        };
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("guard-test-{}-{unique}", std::process::id());
        let path = hierarchy.mount_point().join(name);
        if let Err(error) = std::fs::create_dir(&path) {
            eprintln!("SKIPPED {test}: cannot make {}: {error}", path.display());
            return None;
        }
        Some(Self { hierarchy, path })
    }

    fn root(&self) -> Root {
        let wanted = CgroupRoot::Path(self.path.clone());
        Root::open(&self.hierarchy, &wanted, &mut |_| panic!("no unit is needed")).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_tree(&self.path);
    }
}

fn remove_tree(path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // A killed process leaves its cgroup a moment after it is waited for.
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Err(error) = std::fs::remove_dir(path) {
        if error.kind() == std::io::ErrorKind::NotFound || Instant::now() > deadline {
            eprintln!("cleaning up {}: {error}", path.display());
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process of this test; killed at its end, after a panic too.
struct Sleeper(Child);

impl Sleeper {
    fn new(name: &str) -> Self {
        let mut command = Command::new("sleep");
        command.arg0(name).arg("60").stdin(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("ending process {}: {error}", self.0.id());
        }
    }
}

fn make(root: &Root, path: &str) -> Made {
    Bulkhead::make_or_adopt(root, Path::new(path), &mut |_| Ok(())).unwrap()
}

#[test]
fn root_makes_nested_and_adopts() {
    let Some(scratch) = Scratch::new("root_makes_nested_and_adopts") else { return };
    let root = scratch.root();
    let mut announced = Vec::new();
    let first = Bulkhead::make_or_adopt(&root, Path::new("agents//research"), &mut |path| {
        assert!(!path.exists(), "the callback comes before the directory");
        announced.push(path.to_path_buf());
        Ok(())
    })
    .unwrap();
    let paths = [scratch.path.join("agents"), scratch.path.join("agents/research")];
    assert_eq!(first.made, paths);
    assert_eq!(announced, paths);
    assert_eq!(first.bulkhead.path(), paths[1]);
    let expected = paths[1].strip_prefix(scratch.hierarchy.mount_point()).unwrap();
    assert_eq!(first.bulkhead.match_path(), expected);

    // A neighbour shares the first component only.
    assert_eq!(make(&root, "agents/writing").made, [scratch.path.join("agents/writing")]);

    // The second time nothing is made and nothing is announced.
    std::fs::write(paths[1].join("cgroup.max.descendants"), "7").unwrap();
    let again = Bulkhead::make_or_adopt(&root, Path::new("agents/research"), &mut |path| {
        panic!("{} is there already", path.display())
    })
    .unwrap();
    assert_eq!(again.made, Vec::<PathBuf>::new());
    assert_eq!(again.bulkhead.id(), first.bulkhead.id());
    let kept = std::fs::read_to_string(paths[1].join("cgroup.max.descendants")).unwrap();
    assert_eq!(kept, "7\n", "an adopted cgroup is untouched");
}

#[test]
fn root_refuses_what_leaves_the_root() {
    let Some(scratch) = Scratch::new("root_refuses_what_leaves_the_root") else { return };
    let root = scratch.root();
    for path in ["../guard-escape", "a/../../guard-escape", "/guard-escape", "", "."] {
        let error = Bulkhead::make_or_adopt(&root, Path::new(path), &mut |_| Ok(()));
        assert!(matches!(error, Err(CgroupError::BadPath { .. })), "{path:?}: {error:?}");
    }
    assert!(!scratch.hierarchy.mount_point().join("guard-escape").exists());
    assert_eq!(
        std::fs::read_dir(&scratch.path).unwrap().flatten().filter(|e| e.path().is_dir()).count(),
        0
    );
    // cgroupfs has no symbolic links to be led away by.
    assert!(std::os::unix::fs::symlink("/tmp", scratch.path.join("link")).is_err());
    // A file of cgroupfs is no directory.
    let error = Bulkhead::make_or_adopt(&root, Path::new("cgroup.procs"), &mut |_| Ok(()));
    assert!(error.unwrap_err().to_string().contains("ENOTDIR"));
}

#[test]
fn root_takes_back_what_it_made_when_the_journal_fails() {
    let Some(scratch) = Scratch::new("root_takes_back") else { return };
    let root = scratch.root();
    let mut calls = 0;
    let error = Bulkhead::make_or_adopt(&root, Path::new("a/b/c"), &mut |_| {
        calls += 1;
        if calls == 3 { Err("disk full".into()) } else { Ok(()) }
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("disk full") && error.contains("a/b/c"), "{error}");
    assert!(!scratch.path.join("a").exists());
}

#[test]
fn root_refuses_threaded_cgroups() {
    let Some(scratch) = Scratch::new("root_refuses_threaded_cgroups") else { return };
    let root = scratch.root();
    make(&root, "parent/threads");
    std::fs::write(scratch.path.join("parent/threads/cgroup.type"), "threaded").unwrap();
    for (path, kind) in [("parent/threads", "domain threaded"), ("parent", "domain threaded")] {
        let error = Bulkhead::make_or_adopt(&root, Path::new(path), &mut |_| Ok(()));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(kind), "{path}: {error}");
    }
}

#[test]
fn root_moves_a_process_and_sees_it() {
    let Some(scratch) = Scratch::new("root_moves_a_process_and_sees_it") else { return };
    let root = scratch.root();
    let bulkhead = make(&root, "agents/research").bulkhead;
    let inner = make(&root, "agents/research/tool").bulkhead;
    assert!(!bulkhead.populated().unwrap());
    assert_eq!(bulkhead.procs().unwrap().count(), 0);

    let (agent, tool) = (Sleeper::new("sleep"), Sleeper::new("sleep"));
    bulkhead.add(agent.pid()).unwrap();
    inner.add(tool.pid()).unwrap();
    bulkhead.add(agent.pid()).unwrap(); // twice is no error
    let procs = bulkhead.procs().unwrap();
    let mut expected = vec![agent.pid(), tool.pid()];
    expected.sort_unstable();
    assert_eq!((procs.pids, procs.cgroups), (expected, 2));
    assert_eq!(inner.procs().unwrap().pids, [tool.pid()]);
    assert!(bulkhead.populated().unwrap());
    let line = std::fs::read_to_string(format!("/proc/{}/cgroup", agent.pid())).unwrap();
    let entry = format!("0::/{}", bulkhead.match_path().display());
    assert!(line.lines().any(|l| l == entry), "{line} has no {entry}");

    let namespaces = bulkhead.network_namespaces().unwrap();
    assert_eq!(namespaces.len(), 1);
    assert!(namespaces[0].own);
    assert_eq!(bulkhead.shared_infrastructure().unwrap(), []);
}

#[test]
fn root_sees_other_namespaces_and_shared_processes() {
    let Some(scratch) = Scratch::new("root_sees_other_namespaces") else { return };
    let bulkhead = make(&scratch.root(), "agents").bulkhead;
    let near = Sleeper::new("sleep");
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", "echo tmux >/proc/self/comm; read line"]);
    let far = Sleeper(command.stdin(Stdio::piped()).spawn().unwrap());
    bulkhead.add(near.pid()).unwrap();
    bulkhead.add(far.pid()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while bulkhead.shared_infrastructure().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "the shell did not rename itself");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(bulkhead.shared_infrastructure().unwrap(), [(far.pid(), "tmux".to_owned())]);
    let namespaces = bulkhead.network_namespaces().unwrap();
    assert_eq!(namespaces.len(), 2);
    assert!(namespaces[0].own && namespaces[0].pid == near.pid());
    assert!(!namespaces[1].own && namespaces[1].pid == far.pid());
}

#[test]
fn root_refuses_processes_that_are_no_agents() {
    let Some(scratch) = Scratch::new("root_refuses_processes") else { return };
    let bulkhead = make(&scratch.root(), "agents").bulkhead;
    let gone = {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        pid
    };
    for (pid, why) in [
        (0, "not a process"),
        (1, "init"),
        (std::process::id(), "guardd itself"),
        (gone, "no such process"),
    ] {
        let error = bulkhead.add(pid).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("cure: "), "{error}");
    }
    assert!(!bulkhead.populated().unwrap());
}

#[test]
fn root_explains_the_internal_process_constraint() {
    let Some(scratch) = Scratch::new("root_explains_the_internal_process") else { return };
    // A domain cgroup inside a threaded subtree is "domain invalid": the kernel refuses
    // processes there with EOPNOTSUPP, whatever controllers this host has.
    let bulkhead = make(&scratch.root(), "top/late").bulkhead;
    make(&scratch.root(), "top/threads");
    std::fs::write(scratch.path.join("top/threads/cgroup.type"), "threaded").unwrap();
    let agent = Sleeper::new("sleep");
    let error = bulkhead.add(agent.pid()).unwrap_err().to_string();
    assert!(error.contains("EOPNOTSUPP") && error.contains("cure: "), "{error}");
}

#[test]
fn root_removes_only_what_is_empty_and_its_own() {
    let Some(scratch) = Scratch::new("root_removes_only") else { return };
    let root = scratch.root();
    let Made { bulkhead, made } = make(&root, "agents/research");
    let agent = Sleeper::new("sleep");
    bulkhead.add(agent.pid()).unwrap();

    let results = remove_made(&scratch.hierarchy, &made);
    let busy = Removed::Busy { pids: vec![agent.pid()], children: vec![] };
    assert_eq!(results[0].0, made[1]);
    assert_eq!(*results[0].1.as_ref().unwrap(), busy);
    let child = Removed::Busy { pids: vec![], children: vec![made[1].clone()] };
    assert_eq!(*results[1].1.as_ref().unwrap(), child);
    assert!(bulkhead.still_there());

    drop(agent);
    // A user's own cgroup inside keeps all of them.
    std::fs::create_dir(made[1].join("theirs")).unwrap();
    let results = remove_made(&scratch.hierarchy, &made);
    let child = Removed::Busy { pids: vec![], children: vec![made[1].join("theirs")] };
    assert_eq!(*results[0].1.as_ref().unwrap(), child);
    std::fs::remove_dir(made[1].join("theirs")).unwrap();

    let results = bulkhead.remove_if_empty(&scratch.hierarchy, &made);
    assert!(results.iter().all(|(_, r)| matches!(r, Ok(Removed::Removed))), "{results:?}");
    assert!(scratch.path.exists() && !scratch.path.join("agents").exists());
    let results = remove_made(&scratch.hierarchy, &made);
    assert!(results.iter().all(|(_, r)| matches!(r, Ok(Removed::Absent))), "{results:?}");
}

#[test]
fn root_never_removes_outside_cgroup2() {
    let Some(scratch) = Scratch::new("root_never_removes_outside_cgroup2") else { return };
    let dir = tempfile::tempdir().unwrap();
    let precious = dir.path().join("precious");
    std::fs::create_dir(&precious).unwrap();
    assert!(remove_if_empty(&scratch.hierarchy, &precious).is_err());
    let sly = scratch.path.join("../../../../../..").join(precious.strip_prefix("/").unwrap());
    assert!(remove_if_empty(&scratch.hierarchy, &sly).is_err());
    assert!(remove_if_empty(&scratch.hierarchy, scratch.hierarchy.mount_point()).is_err());
    assert!(precious.exists());
}

#[test]
fn root_notices_a_cgroup_made_anew() {
    let Some(scratch) = Scratch::new("root_notices_a_cgroup_made_anew") else { return };
    let Made { bulkhead, made } = make(&scratch.root(), "agents");
    assert!(bulkhead.still_there());
    std::fs::remove_dir(bulkhead.path()).unwrap();
    assert!(!bulkhead.still_there());
    // The open descriptor outlives the cgroup, without harm.
    assert_eq!(bulkhead.procs().unwrap().count(), 0);
    assert!(!bulkhead.populated().unwrap());
    let error = bulkhead.add(Sleeper::new("sleep").pid()).unwrap_err().to_string();
    assert!(error.contains("removed"), "{error}");

    std::fs::create_dir(bulkhead.path()).unwrap();
    assert!(!bulkhead.still_there(), "the same path, another cgroup");
    let path = bulkhead.path().to_path_buf();
    let results = bulkhead.remove_if_empty(&scratch.hierarchy, &made);
    assert!(matches!(results[..], [(_, Ok(Removed::Replaced))]), "{results:?}");
    assert!(path.exists());
}

#[test]
fn root_tolerates_cgroups_that_come_and_go() {
    let Some(scratch) = Scratch::new("root_tolerates_cgroups_that_come_and_go") else { return };
    let bulkhead = make(&scratch.root(), "agents").bulkhead;
    let base = bulkhead.path().to_path_buf();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for n in 0..8 {
                    std::fs::create_dir_all(base.join(format!("{n}/inner"))).unwrap();
                }
                for n in 0..8 {
                    std::fs::remove_dir(base.join(format!("{n}/inner"))).unwrap();
                    std::fs::remove_dir(base.join(format!("{n}"))).unwrap();
                }
            }
        });
        let results: Vec<_> = (0..300).map(|_| bulkhead.procs()).collect();
        stop.store(true, Ordering::Relaxed);
        for result in results {
            assert_eq!(result.unwrap().count(), 0);
        }
    });
    assert!(walk::is_cgroup2_fd(bulkhead.as_fd()).unwrap());
}
