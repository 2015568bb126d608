//! Who is whose where a bulkhead lies inside another: what is done to the outer one's processes is not
//! done to the inner one's.

use std::process::Stdio;

use testbed::guardd::{Guardd, GuarddConfig};
use testbed::process::Process;
use testbed::{requires, wait};

use crate::rig::{LIMIT, Probe, events_when};
use crate::{cgroup_of, ctl, run, runs};

const OUTER: &str = "[bulkheads.research]\n\
                     orphans = { after = \"300ms\", action = \"end\", grace = \"200ms\" }\n";
const INNER: &str = "[bulkheads.writing]\ncgroup = \"research/writing\"\n";

fn processes(guardd: &Guardd, bulkhead: &str) -> u64 {
    let status = guardd.ctl_json(&["status"]).unwrap();
    let bulkheads = status["bulkheads"].as_array().unwrap();
    bulkheads.iter().find(|b| b["name"] == bulkhead).unwrap()["processes"].as_u64().unwrap()
}

/// A process that stays, in `writing`.
fn stays(guardd: &Guardd) -> Process {
    let script = "echo in; exec sleep 600";
    let mut inner =
        Process::spawn(&mut ctl(guardd, &["exec", "writing", "--", "sh", "-c", script])).unwrap();
    inner.wait_for_line(LIMIT, |line| line == "in").unwrap();
    inner
}

#[test]
fn the_end_of_the_outer_ones_orphans_spares_the_inner_one() {
    if !requires::cgroups("the_end_of_the_outer_ones_orphans_spares_the_inner_one") {
        return;
    }
    let mut guardd = Guardd::start(GuarddConfig::new(format!("{OUTER}{INNER}"))).unwrap();
    let mut inner = stays(&guardd);
    // Orphans to which guard does not listen, so that it takes SIGKILL: the kernel's kill of the whole
    // cgroup would hit the inner one.
    let script = "trap '' TERM; sh -c 'while :; do sleep 1; done' >/dev/null 2>&1 & echo $!";
    let mut command = ctl(&guardd, &["exec", "research", "--", "sh", "-c", script]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let orphan: u32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert_eq!(processes(&guardd, "writing"), 1);
    events_when(&guardd, "orphans_ended", 2);
    wait::until("the orphan's end", LIMIT, || !runs(orphan)).unwrap();
    wait::until("an empty bulkhead", LIMIT, || processes(&guardd, "research") == 0).unwrap();
    assert!(runs(inner.pid()), "it is the inner one's");
    assert_eq!(processes(&guardd, "writing"), 1);
    // No run of the outer's has the inner one's cgroup, also after a restart.
    for _ in 0..2 {
        let (code, _, said) =
            run(&mut ctl(&guardd, &["exec", "--sub=writing", "research", "--", "true"]));
        assert!(code == 125 && said.contains("bulkhead writing is there"), "{code} {said}");
        guardd.sigkill().unwrap();
        guardd.restart().unwrap();
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(runs(inner.pid()) && guardd.bulkhead("research/writing").exists());
    inner.stop(LIMIT).unwrap();
    guardd.finish().unwrap();
}

#[test]
fn an_outer_bulkhead_comes_and_goes_around_an_inner_one() {
    if !requires::cgroups("an_outer_bulkhead_comes_and_goes_around_an_inner_one") {
        return;
    }
    // Both directories are made for the inner one.
    let mut guardd = Guardd::start(GuarddConfig::new(INNER)).unwrap();
    let reload = |guardd: &mut Guardd, body: String| {
        guardd.set_config(GuarddConfig::new(body)).unwrap();
        guardd.ctl_json(&["reload"]).unwrap()
    };
    reload(&mut guardd, format!("{OUTER}{INNER}"));
    let status = guardd.ctl(&["status"]).unwrap();
    assert!(status.stdout.contains("writing lies inside research"), "{status:?}");
    let mut inner = stays(&guardd);
    reload(&mut guardd, INNER.to_owned());
    assert!(runs(inner.pid()) && cgroup_of(inner.pid()).ends_with("/research/writing"));
    reload(&mut guardd, format!("{OUTER}{INNER}"));
    inner.stop(LIMIT).unwrap();
    // The inner one goes, and its directory with it; the outer one's stays.
    let changes = reload(&mut guardd, OUTER.to_owned());
    assert!(changes["changes"].to_string().contains("are those of research now"), "{changes}");
    assert!(!guardd.bulkhead("research/writing").exists());
    assert!(guardd.bulkhead("research").exists());
    let status = guardd.ctl_json(&["status"]).unwrap();
    assert_eq!(status["bulkheads"][0]["state"], "attached", "{status}");
    drop(Probe::start(&guardd, "research"));
    wait::until("an empty bulkhead", LIMIT, || processes(&guardd, "research") == 0).unwrap();
    guardd.finish().unwrap();
}
