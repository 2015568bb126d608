//! Looks now and then for sockets that escape guard, and keeps what it found for `status`, `doctor`
//! and scrapes. It ends nothing: such a socket may be an agent's only way to finish its work.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use guard_common::abi::creation::KIND_NAMES;

use super::error::DaemonError;
use super::state::{Guard, State};
use super::waits::storage_of;
use crate::control::api::{Check, CheckResult};
use crate::observe::{Audit, AuditedBulkhead, audit, with_ids};
use crate::telemetry::metrics::{CreationSample, UnguardedSample};

/// Pause between two looks of its own accord.
const PAUSE: Duration = Duration::from_secs(10);
/// An audit takes no more than this share of the time.
const SHARE: u32 = 50;
/// Whoever asks gets a new one at once, if the last was that quick.
const QUICK: Duration = Duration::from_millis(10);
/// No more than one in this time.
const FRESH: Duration = Duration::from_secs(1);

/// The reasons why a socket can escape.
pub(super) const REASONS: [&str; 4] =
    ["made_outside", "other_bulkhead", "unseen_kind", "process_left"];

/// The last audit, and when it was.
#[derive(Default)]
pub(crate) struct Audited(Mutex<Option<(Instant, Arc<Audit>)>>);

impl Audited {
    fn last(&self) -> Option<(Instant, Arc<Audit>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Guard {
    /// Looks now.
    pub(super) fn audit_now(&self) -> Result<Arc<Audit>, DaemonError> {
        let (storage, bulkheads) = {
            let state = self.lock();
            (storage_of(&state)?, audited(&state))
        };
        let found = Arc::new(audit(storage.as_fd(), &bulkheads));
        let last = {
            let mut slot = self.audited.0.lock().unwrap_or_else(PoisonError::into_inner);
            slot.replace((Instant::now(), Arc::clone(&found)))
        };
        if !last.is_some_and(|(_, last)| found.inodes.is_subset(&last.inodes)) {
            self.tell(&found);
        }
        Ok(found)
    }

    /// The last audit, or a new one where that costs little.
    pub(super) fn audit_recent(&self) -> Result<Arc<Audit>, DaemonError> {
        match self.audited.last() {
            Some((when, found)) if found.took > QUICK || when.elapsed() < FRESH => Ok(found),
            _ => self.audit_now(),
        }
    }

    /// Audits until it shall stop.
    pub(super) fn audit_until(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let took = match self.audit_now() {
                Ok(found) => found.took,
                Err(error) => {
                    tracing::warn!(%error, "sockets that escape guard are not looked for");
                    PAUSE
                }
            };
            std::thread::park_timeout(PAUSE.max(took * SHARE));
        }
    }

    /// Writes down what is there, when there is something new.
    fn tell(&self, found: &Audit) {
        for (bulkhead, sockets) in &found.unguarded {
            let name = with_ids(&self.ids, |ids| ids.bulkhead_name(*bulkhead).to_owned());
            let Some(first) = sockets.first() else { continue };
            let message = format!("{} in all; {}", sockets.len(), first.text());
            tracing::warn!(bulkhead = name, message, "sockets that are not guarded");
            self.events.note("unguarded_socket", |event| {
                event.bulkhead = name;
                event.pid = Some(first.pid);
                event.message = message;
            });
        }
    }

    /// What `doctor` says of them.
    pub(super) fn audit_checks(&self) -> Vec<Check> {
        let check = |result, found, why: &str, cure: String| Check {
            name: "sockets".to_owned(),
            result,
            found,
            why: why.to_owned(),
            cure,
        };
        let found = match self.audit_now() {
            Ok(found) => found,
            Err(error) => {
                let why = "sockets that escape guard are not looked for";
                let cure = "restart guardd".to_owned();
                return vec![check(CheckResult::Failure, error.to_string(), why, cure)];
            }
        };
        let mut checks = Vec::new();
        for (bulkhead, sockets) in &found.unguarded {
            let name = with_ids(&self.ids, |ids| ids.bulkhead_name(*bulkhead).to_owned());
            for socket in sockets.iter().take(MAX_NAMED) {
                let (why, cure) = advice(&socket.reason, &name, socket.pid);
                let found = format!("{name}: {}", socket.text());
                checks.push(check(CheckResult::Warning, found, why, cure));
            }
            if let Some(more) = sockets.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
                let found = format!("{name}: {more} more");
                let cure = "guardctl status --json names them all".to_owned();
                checks.push(check(CheckResult::Warning, found, "as above", cure));
            }
        }
        for problem in &found.problems {
            let why = "sockets that escape guard may be overlooked";
            let cure = "none needed, if you know these processes".to_owned();
            checks.push(check(CheckResult::Warning, problem.clone(), why, cure));
        }
        if checks.is_empty() {
            let found = "every socket that processes of bulkheads hold is guarded".to_owned();
            checks.push(check(CheckResult::Ok, found, "", String::new()));
        }
        checks
    }

    /// How many of them there are, with the zeros of each bulkhead.
    pub(super) fn unguarded_samples(&self, state: &State) -> Vec<UnguardedSample> {
        let found = self.audited.last().map(|(_, found)| found).unwrap_or_default();
        let mut samples = Vec::new();
        for (name, live) in &state.bulkheads {
            let sockets = found.unguarded.get(&live.id).map(Vec::as_slice).unwrap_or_default();
            for reason in REASONS {
                let count = sockets.iter().filter(|socket| socket.reason == reason).count() as u64;
                if count > 0 || state.bulkheads.len() <= MAX_ZEROS {
                    samples.push(UnguardedSample { bulkhead: name.clone(), reason, count });
                }
            }
        }
        samples
    }

    /// Sockets that bulkheads wanted and may not make.
    pub(super) fn creation_samples(
        &self,
        state: &State,
    ) -> Result<Vec<CreationSample>, DaemonError> {
        let counts = state.kernel.creations()?;
        Ok(with_ids(&self.ids, |ids| {
            let samples = counts.into_iter().filter_map(|(key, counts)| {
                Some(CreationSample {
                    bulkhead: ids.bulkhead_name(key.bulkhead).to_owned(),
                    kind: KIND_NAMES.get(key.kind as usize)?,
                    refused: counts.refused,
                    would_have: counts.would_have,
                })
            });
            samples.collect()
        }))
    }
}

/// Sockets of one bulkhead that `doctor` names.
const MAX_NAMED: usize = 5;
/// Bulkheads up to which each has its zeros in `/metrics`.
const MAX_ZEROS: usize = 100;

/// Why it matters, and the cure.
fn advice(reason: &str, bulkhead: &str, pid: u32) -> (&'static str, String) {
    match reason {
        "process_left" => (
            "its new sockets are not guarded",
            format!("move it back: guardctl move {bulkhead} {pid}"),
        ),
        "unseen_kind" => (
            "traffic over it passes breakers and connect faults",
            "run the agent without CAP_NET_RAW, and take the kind out of the bulkhead's `sockets`"
                .to_owned(),
        ),
        _ => (
            "traffic over it passes this bulkhead's breakers, limits and faults",
            format!("start the agent inside: guardctl exec {bulkhead} -- CMD"),
        ),
    }
}

fn audited(state: &State) -> BTreeMap<u32, AuditedBulkhead> {
    let look = |live: &super::bulkheads::LiveBulkhead| {
        let pids = live.pids();
        let namespaces = if pids.is_empty() { Vec::new() } else { live.network_namespaces() };
        AuditedBulkhead {
            cgroups: live.cgroups().flat_map(|c| c.cgroup_ids().unwrap_or_default()).collect(),
            foreign_namespaces: namespaces.into_iter().filter(|n| !n.own).map(|n| n.pid).collect(),
            pids,
        }
    };
    state.bulkheads.values().map(|live| (live.id, look(live))).collect()
}
