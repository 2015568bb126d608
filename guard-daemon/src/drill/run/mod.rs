//! Runs a drill: watches, injects, watches, ends, and judges. It never outlives its deadline or its
//! session, and whatever goes wrong, it ends the faults and says what is left.
//!
//! What ends the faults does not depend on this code: the kernel lets each lapse at its deadline, and
//! guardd ends them when the session (the control connection of the drill) is gone.

use std::pin::pin;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::record::{Check, Cleanup, Moment, Plan, Record, Sample};
use super::spec::{Drill, Phase};
use crate::control::api::{ErrorBody, FaultRecord};
use look::Look;
use verdict::{Ending, Seen};

mod cleanup;
mod conditions;
mod daemon;
mod http;
mod judge;
mod look;
mod looking;
mod phases;
mod probe;
mod promql;
mod proof;
mod verdict;

pub use daemon::{Daemon, Progress, Watcher};
pub(super) use promql::url as promql_url;

/// How often numbers are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// In which time the steady state must hold again after the faults.
const RECOVERED_FOR: Duration = Duration::from_secs(3);
/// In which time whoever stops a drill has said so.
const TOLD_WITHIN: Duration = Duration::from_millis(500);
/// How long faults whose time is over may still be listed.
const OVERTIME: Duration = Duration::from_secs(30);

/// A drill that is about to run.
#[derive(Debug)]
pub struct Job<'a> {
    /// What its file says.
    pub drill: &'a Drill,
    /// Path of the file as given.
    pub file: &'a str,
    /// Text of the file.
    pub text: &'a str,
    /// Id of the run, as guardd was told.
    pub run_id: &'a str,
    /// Seed of all random decisions.
    pub seed: u64,
    /// What guardd says it is about.
    pub plan: Plan,
}

/// Runs a drill to its end. `session` is the drill's control connection: it ends with the reason when
/// guardd ends the drill, and dropping it ends the faults. `interrupted` ends when a person stops it.
pub async fn run(
    job: Job<'_>,
    daemon: &impl Daemon,
    session: impl Future<Output = String>,
    interrupted: impl Future<Output = String>,
    watcher: &mut impl Watcher,
) -> Record {
    let mut run = Run {
        drill: job.drill,
        daemon,
        watcher,
        began: Instant::now(),
        phase: None,
        looks: Vec::new(),
        faults: Vec::new(),
        injected: Vec::new(),
        checks: Vec::new(),
        timeline: Vec::new(),
        samples: Vec::new(),
        before: None,
        conditions: conditions::Conditions::default(),
    };
    let start = Timestamp::now();
    let ending = {
        // Dropped at the end of this block, and the faults with it.
        let session = pin!(session);
        let mut stop = pin!(async {
            tokio::select! { why = session => why, why = interrupted => why }
        });
        let ending = tokio::select! {
            // A reason to stop comes first, when both are there.
            biased;
            why = &mut stop => Ending::Interrupted(why),
            ending = run.until_faults_end(&job) => ending.err().unwrap_or(Ending::Planned),
        };
        match ending {
            // What stops a drill makes its next question fail, and may be told after that.
            Ending::NotInjected(_) => match tokio::time::timeout(TOLD_WITHIN, stop).await {
                Ok(why) => Ending::Interrupted(why),
                Err(_) => ending,
            },
            ending => ending,
        }
    };
    run.note(format!("the faults are over: {}", described(&ending)));
    run.conditions = conditions::Conditions::default();
    let over = Instant::now();
    let cleanup = run.cleanup(over).await;
    if ending == Ending::Planned && !job.drill.after.is_zero() {
        run.after().await;
    }
    run.phase = None;
    run.record(job, start, &ending, cleanup)
}

/// How it ended, in one word or sentence.
fn described(ending: &Ending) -> &str {
    match ending {
        Ending::Planned => "as planned",
        Ending::NotBegun => "none was injected",
        Ending::NotInjected(why) | Ending::Aborted(why) | Ending::Interrupted(why) => why,
    }
}

struct Run<'a, D, W> {
    drill: &'a Drill,
    daemon: &'a D,
    watcher: &'a mut W,
    began: Instant,
    phase: Option<Phase>,
    /// Of the whole drill.
    looks: Vec<Look>,
    /// The drill's faults as guardd last listed them, in the order of the file.
    faults: Vec<FaultRecord>,
    /// Ids of those that were injected.
    injected: Vec<u64>,
    checks: Vec<Check>,
    timeline: Vec<Moment>,
    samples: Vec<Sample>,
    /// What guard had on the host before.
    before: Option<Vec<String>>,
    /// Abort conditions that need requests, while they are watched.
    conditions: conditions::Conditions,
}

impl<D: Daemon, W: Watcher> Run<'_, D, W> {
    async fn cleanup(&mut self, over: Instant) -> Cleanup {
        let Some(before) = self.before.take() else { return Cleanup::default() };
        // Their last numbers, also of those that were ended just now.
        let listed = self.list_faults().await;
        let cleanup = cleanup::watch(self.daemon, &before, over).await;
        if listed.is_ok() && cleanup.complete.is_some() && self.list_faults().await.is_err() {
            self.note("guardd went away after the faults".to_owned());
        }
        self.note(match cleanup.complete {
            Some(true) => format!("the host is as before, after {:.1} s", cleanup.seconds),
            Some(false) => format!("left over: {}", cleanup.left_over.join("; ")),
            None => "whether anything is left over could not be asked".to_owned(),
        });
        cleanup
    }

    fn record(
        mut self,
        job: Job<'_>,
        start: Timestamp,
        ending: &Ending,
        cleanup: Cleanup,
    ) -> Record {
        self.timeline.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let proof = proof::proofs(self.drill, &self.faults);
        let collateral = match (self.looks.first(), self.looks.last()) {
            (Some(first), Some(last)) => proof::collateral(&job.plan, first, last),
            _ => Vec::new(),
        };
        let judgement = verdict::judge(&Seen {
            ending,
            checks: &self.checks,
            proof: &proof,
            collateral: &collateral,
            cleanup: &cleanup,
        });
        Record {
            schema: "guard.drill/1".into(),
            run_id: job.run_id.to_owned(),
            guard_version: env!("CARGO_PKG_VERSION").to_owned(),
            host: nix::unistd::gethostname()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            kernel: nix::sys::utsname::uname()
                .map(|name| name.release().to_string_lossy().into_owned())
                .unwrap_or_default(),
            file: job.file.to_owned(),
            text: job.text.to_owned(),
            drill: self.drill.clone(),
            seed: job.seed,
            plan: job.plan,
            start: start.to_string(),
            end: Timestamp::now().to_string(),
            seconds: self.began.elapsed().as_secs_f64(),
            status: judgement.status,
            verdict: judgement.verdict,
            exit_code: judgement.exit_code,
            why: judgement.why,
            checks: self.checks,
            proof,
            collateral,
            cleanup,
            timeline: self.timeline,
            samples: self.samples,
        }
    }
}

/// guardd does not answer any more.
fn gone(error: &ErrorBody) -> Ending {
    Ending::Interrupted(format!("guardd is gone: {}", error.error))
}
