//! `doctor`: what works on this host, what does not, why, and the cure. Looks only; the probe of
//! the delay engine makes and removes one netfilter chain.

mod limits;

use std::time::Duration;

use super::state::{Guard, State};
use crate::cgroup::{Hierarchy, systemd};
use crate::control::api::{Check, CheckResult, Doctor};
use crate::fault::Engines;
use crate::kernel::{self, Kernel, LoadOptions};
use crate::net::qdisc;

/// Without a scrape for this long somebody's dashboard is empty.
const SCRAPE_SILENCE: Duration = Duration::from_mins(10);

fn ok(name: &str, found: impl Into<String>) -> Check {
    Check {
        name: name.to_owned(),
        result: CheckResult::Ok,
        found: found.into(),
        why: String::new(),
        cure: String::new(),
    }
}

fn problem(
    result: CheckResult,
    name: &str,
    found: impl Into<String>,
    why: impl Into<String>,
    cure: impl Into<String>,
) -> Check {
    Check { name: name.to_owned(), result, found: found.into(), why: why.into(), cure: cure.into() }
}

/// What can be checked without a guardd.
pub fn offline() -> Vec<Check> {
    let mut checks = features();
    if checks.iter().all(|check| check.result == CheckResult::Ok) {
        checks.push(programs());
    }
    checks.push(hierarchy());
    checks.push(limits::controllers());
    checks.push(delay(&Engines::probe()));
    checks.push(tls());
    checks
}

fn features() -> Vec<Check> {
    let check = |feature: kernel::Feature| match feature.problem {
        None => ok(feature.name, feature.found),
        Some((why, cure)) => problem(CheckResult::Failure, feature.name, feature.found, why, cure),
    };
    kernel::check_features().into_iter().map(check).collect()
}

/// Loads the programs and drops them again: only the verifier itself can tell.
fn programs() -> Check {
    let loaded = Kernel::load(LoadOptions { pairs: 1, endpoints: 1, breakers: 1, limits: 1 }, None)
        .and_then(|mut kernel| kernel.verify_gates().map(|()| kernel));
    match loaded {
        Ok(kernel) => {
            let count = kernel.verified_instructions().len();
            ok("programs", format!("{count} kernel programs pass this kernel's verifier"))
        }
        Err(error) => problem(
            CheckResult::Failure,
            "programs",
            error.to_string(),
            "without its programs guard can do nothing",
            "report this with the kernel's version",
        ),
    }
}

fn hierarchy() -> Check {
    match Hierarchy::discover() {
        Ok(found) if found.problems().is_empty() => {
            let kind = if found.is_hybrid() { "hybrid" } else { "pure" };
            let place = if systemd::is_pid_1(std::path::Path::new("/")) {
                format!("bulkheads go into {} of systemd", systemd::UNIT)
            } else {
                "no systemd: bulkheads go below the mount".to_owned()
            };
            let at = found.mount_point().display();
            ok("cgroup", format!("cgroup2 ({kind}) at {at}; {place}"))
        }
        Ok(found) => problem(
            CheckResult::Warning,
            "cgroup",
            found.problems().join("; "),
            "bulkheads may not be where you expect them",
            "see docs/guide/cgroups.md",
        ),
        Err(error) => problem(
            CheckResult::Failure,
            "cgroup",
            error.to_string(),
            "a bulkhead is a cgroup of version 2",
            "mount cgroup2, or boot with systemd.unified_cgroup_hierarchy=1",
        ),
    }
}

fn delay(engines: &Engines) -> Check {
    let devices = qdisc::devices().map_or_else(
        |error| format!("qdiscs cannot be read: {error}"),
        |devices| {
            let with_fq: Vec<_> =
                devices.iter().filter(|d| has_fq(d)).map(|d| d.name.as_str()).collect();
            if with_fq.is_empty() {
                "EDT not possible: no device has fq".to_owned()
            } else {
                format!("EDT for destinations behind {}", with_fq.join(", "))
            }
        },
    );
    match engines.nfqueue() {
        Ok(()) => ok("delay", format!("NFQUEUE; {devices}")),
        Err(why) => problem(
            CheckResult::Warning,
            "delay",
            format!("NFQUEUE does not work; {devices}"),
            format!("latency faults are refused where EDT is not possible: {why}"),
            "apt install iptables; or tc qdisc replace dev DEVICE root fq",
        ),
    }
}

/// Whether every queue of the device honours departure times.
fn has_fq(device: &qdisc::Device) -> bool {
    let Some(root) = &device.root else { return false };
    root.kind == "fq"
        || (root.kind == "mq"
            && !device.leaves.is_empty()
            && device.leaves.iter().all(|leaf| leaf.kind == "fq"))
}

fn tls() -> Check {
    ok(
        "tls",
        "contents are not read by this version: calls over TLS are timed by their bytes, and \
         handshakes are told from calls",
    )
}

impl Guard {
    /// All checks. Blocking.
    pub(crate) fn doctor_now(&self) -> Doctor {
        let mut checks = features();
        checks.push(hierarchy());
        checks.push(limits::controllers());
        checks.extend(limits::enforced(&self.lock()));
        checks.push(delay(&self.engines));
        checks.extend(self.pacing_check());
        checks.push(tls());
        checks.extend(self.bulkhead_checks());
        checks.extend(self.audit_checks());
        checks.push(self.keeping_check());
        checks.push(self.names_check());
        checks.push(self.scrape_check());
        checks.push(self.events_check());
        checks.sort_by_key(|check| check.result);
        Doctor { schema: "guard.doctor/1".to_owned(), checks }
    }

    /// Nothing where no rate is limited.
    fn pacing_check(&self) -> Option<Check> {
        let state = self.lock();
        let problems: Vec<_> = state.pacing.problems().collect();
        if !problems.is_empty() {
            return Some(problem(
                CheckResult::Warning,
                "pacing",
                problems.join("; "),
                "calls that come too fast are not held",
                "apt install iptables; or tc qdisc replace dev DEVICE root fq; see docs/guide/limits.md",
            ));
        }
        state.pacing.is_on().then(|| ok("pacing", "calls above max_calls_per_second are held"))
    }

    fn bulkhead_checks(&self) -> Vec<Check> {
        let state = self.lock();
        let mut checks = Vec::new();
        let mut good = 0;
        for (name, live) in &state.bulkheads {
            let text = live.state_text();
            if text == "attached" {
                good += 1;
            } else {
                checks.push(problem(
                    CheckResult::Failure,
                    "bulkheads",
                    format!("{name} is {text}"),
                    "its processes are not guarded",
                    "guardctl reload",
                ));
            }
            for (pid, command) in live.cgroup.shared_infrastructure().unwrap_or_default() {
                checks.push(problem(
                    CheckResult::Warning,
                    "bulkheads",
                    format!("{name} holds process {pid} ({command})"),
                    "faults and limits of this bulkhead hit everything that it serves",
                    format!("move the agents alone into it: guardctl exec {name} -- CMD"),
                ));
            }
            checks.extend(Self::pattern_check(&state, name));
            let namespaces = live.network_namespaces();
            for foreign in namespaces.iter().filter(|namespace| !namespace.own) {
                checks.push(problem(
                    CheckResult::Warning,
                    "bulkheads",
                    format!(
                        "{name} has processes in another network namespace (pid {})",
                        foreign.pid
                    ),
                    "latency faults are refused for it; everything else works",
                    "none needed, unless you want to inject latency",
                ));
            }
        }
        checks.push(ok("bulkheads", format!("{good} of {} attached", state.bulkheads.len())));
        checks
    }

    /// A pattern that matches nothing may be meant as the path of a cgroup that guard makes.
    fn pattern_check(state: &State, name: &str) -> Option<Check> {
        let pattern = state.plan.bulkhead(name)?.pattern.as_deref()?;
        let matches = state.bulkheads.get(name)?.matches.len();
        if matches > 0 {
            return Some(ok("bulkheads", format!("{name} takes in {matches} of {pattern}")));
        }
        Some(problem(
            CheckResult::Warning,
            "bulkheads",
            format!("no cgroup matches {pattern} of {name}"),
            "a path with a leading `/` names cgroups of others, and guard makes none of them",
            "none needed, if they are still to come; else compare it with systemd-cgls, or drop the \
             `/` to have the cgroup made",
        ))
    }

    fn keeping_check(&self) -> Check {
        let state = self.lock();
        match state.keeping.problem() {
            None => ok("breakers", "their states outlive a daemon that is killed"),
            Some(why) => problem(
                CheckResult::Warning,
                "breakers",
                why,
                "without a bpffs breakers end with the daemon, however it ends, and start afresh",
                "let guardd mount a bpffs below the directory of its control socket",
            ),
        }
    }

    fn names_check(&self) -> Check {
        let state = self.lock();
        let problems: Vec<_> =
            state.resolved.problems().map(|(name, why)| format!("{name}: {why}")).collect();
        if problems.is_empty() {
            return ok("names", "every host name of the services resolves");
        }
        problem(
            CheckResult::Warning,
            "names",
            problems.join("; "),
            "calls to these names count for the service \"other\"",
            "check the names, and the resolver of this host",
        )
    }

    fn scrape_check(&self) -> Check {
        let Some(address) = self.lock().metrics_address else {
            return ok("metrics", "off (daemon.metrics_listen)");
        };
        match self.since_scrape() {
            Some(since) if since < SCRAPE_SILENCE => {
                ok("metrics", format!("{address}, scraped {}s ago", since.as_secs()))
            }
            None if self.started.elapsed() < SCRAPE_SILENCE => {
                ok("metrics", format!("{address}, not scraped yet"))
            }
            since => problem(
                CheckResult::Warning,
                "metrics",
                since.map_or_else(
                    || format!("{address} serves, but nobody has ever scraped it"),
                    |since| {
                        format!(
                            "{address} serves, but nobody has scraped it for {}s",
                            since.as_secs()
                        )
                    },
                ),
                "dashboards and alerts are blind",
                format!("add {address} to the scrape configuration"),
            ),
        }
    }

    fn events_check(&self) -> Check {
        match self.lock().kernel.hook_stats() {
            Ok(hooks) if hooks.storage_failures + hooks.stats_failures > 0 => problem(
                CheckResult::Warning,
                "hooks",
                format!(
                    "{} times no memory for a socket, {} times none for counters",
                    hooks.storage_failures, hooks.stats_failures
                ),
                "these connections are neither counted nor faulted",
                "free kernel memory; a processor without cmpxchg16b cannot run guard on Linux 7 \
                 and newer",
            ),
            Ok(hooks) if hooks.events_lost == 0 => ok("events", "none lost"),
            Ok(hooks) => problem(
                CheckResult::Warning,
                "events",
                format!("{} kernel events were lost", hooks.events_lost),
                "the log has gaps; counters and metrics have none",
                "none needed; guardd was too busy to read them",
            ),
            Err(error) => problem(
                CheckResult::Failure,
                "events",
                error.to_string(),
                "guardd cannot read its own maps",
                "restart guardd",
            ),
        }
    }
}
