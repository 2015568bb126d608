//! The delegated place, against a real systemd.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::*;
use super::{Sleeper, make};
use crate::plan::CgroupRoot;

/// Asks the real systemd for a delegated place. It changes the host's systemd, so it runs only
/// where it is told to (in a throw-away VM or container): `GUARD_TEST_SYSTEMD=1`.
#[test]
fn root_asks_systemd_for_a_delegated_place() {
    const NAME: &str = "root_asks_systemd_for_a_delegated_place";
    if !systemd::is_pid_1(Path::new("/")) {
        eprintln!("SKIPPED {NAME}: systemd is not PID 1");
        return;
    }
    if std::env::var_os("GUARD_TEST_SYSTEMD").is_none() {
        eprintln!("SKIPPED {NAME}: GUARD_TEST_SYSTEMD is not set");
        return;
    }
    let hierarchy = Hierarchy::discover().unwrap();
    let open = |announced: &mut Vec<String>| {
        Root::open(&hierarchy, &CgroupRoot::Auto, &mut |unit| {
            announced.push(unit.to_owned());
            Ok(())
        })
    };
    let mut announced = Vec::new();
    let refused = Root::open(&hierarchy, &CgroupRoot::Auto, &mut |_| Err("disk full".into()));
    assert!(matches!(refused, Err(CgroupError::Journal { .. })), "{refused:?}");

    let root = open(&mut announced).unwrap();
    assert_eq!(announced, [systemd::UNIT]);
    assert_eq!(root.systemd_unit(), Some(systemd::UNIT));
    assert_eq!(root.warnings(), Vec::<String>::new());
    let own = std::fs::read_to_string(root.path().join("cgroup.procs")).unwrap();
    assert_eq!(own, "", "the keeper is in its leaf, so that controllers can be switched on");
    let keeper = std::fs::read_to_string(root.path().join("keeper/cgroup.procs")).unwrap();
    assert_eq!(keeper.lines().count(), 1);
    for controller in
        std::fs::read_to_string(root.path().join("cgroup.controllers")).unwrap().split_whitespace()
    {
        std::fs::write(root.path().join("cgroup.subtree_control"), format!("+{controller}"))
            .unwrap();
    }
    assert!(Bulkhead::make_or_adopt(&root, Path::new("keeper"), &mut |_| Ok(())).is_err());

    // The second time it is found, not made.
    let Made { bulkhead, made } = make(&open(&mut announced).unwrap(), "agents/research");
    assert_eq!(announced.len(), 1);
    let agent = Sleeper::new("sleep");
    bulkhead.add(agent.pid()).unwrap();

    // With an agent in it the unit is not stopped by guard …
    let stopped = systemd::stop_if_empty(hierarchy.mount_point()).unwrap();
    assert_eq!(stopped, systemd::Stopped::Busy(vec![agent.pid()]));
    // … and the keeper's death, or a stop by hand, leaves the agent and its bulkhead alone.
    let controllers = std::fs::read_to_string(root.path().join("cgroup.subtree_control")).unwrap();
    let back = |announced: &mut Vec<String>, after: &str| {
        std::thread::sleep(Duration::from_millis(500));
        assert!(bulkhead.still_there(), "after {after}");
        assert_eq!(bulkhead.procs().unwrap().pids, [agent.pid()], "after {after}");
        // The next start of guardd finds its way back to the same cgroup.
        let root = open(announced).unwrap();
        // With controllers switched on systemd cannot put a keeper there again.
        let lame = !controllers.trim().is_empty() && after != "nothing";
        assert_eq!(root.warnings().len(), usize::from(lame), "{:?}", root.warnings());
        let again = make(&root, "agents/research");
        assert_eq!(again.bulkhead.id(), bulkhead.id(), "after {after}");
        assert_eq!(again.made, Vec::<PathBuf>::new());
        assert_eq!(bulkhead.procs().unwrap().pids, [agent.pid()], "after {after}");
    };
    back(&mut announced, "nothing");
    assert!(Command::new("kill").arg(keeper.trim()).status().unwrap().success());
    back(&mut announced, "kill");
    let stop = ["stop", systemd::UNIT];
    assert!(Command::new("systemctl").args(stop).status().unwrap().success());
    back(&mut announced, "stop");
    assert_eq!(announced.len(), 3);
    eprintln!("controllers switched on in the place: {:?}", controllers.trim());

    drop(agent);
    let results = bulkhead.remove_if_empty(&hierarchy, &made);
    // Without a keeper systemd is the first to sweep, once the last agent has ended.
    let gone = |r: &Result<Removed>| matches!(r, Ok(Removed::Removed | Removed::Absent));
    assert!(results.iter().all(|(_, r)| gone(r)), "{results:?}");
    let stopped = systemd::stop_if_empty(hierarchy.mount_point()).unwrap();
    if controllers.trim().is_empty() {
        assert_eq!(stopped, systemd::Stopped::Stopped);
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while root.path().exists() {
        assert!(Instant::now() < deadline, "systemd takes the empty place away");
        std::thread::sleep(Duration::from_millis(50));
    }
    let stopped = systemd::stop_if_empty(hierarchy.mount_point()).unwrap();
    assert_eq!(stopped, systemd::Stopped::NotActive);
}
