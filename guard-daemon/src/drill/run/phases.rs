//! The phases of a drill, one after the other: before, during and after the faults. What ends it early
//! is an [`Ending`]; nothing here decides what the whole of it shows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::conditions::Conditions;
use super::daemon::{Daemon, Watcher};
use super::judge::{self, Looks};
use super::probe::{Prober, Tries};
use super::verdict::Ending;
use super::{Job, LOOK_EVERY, OVERTIME, RECOVERED_FOR, Run, gone};
use crate::control::api::FaultRecord;
use crate::drill::spec::Phase;

impl<D: Daemon, W: Watcher> Run<'_, D, W> {
    /// Everything up to the end of the faults.
    pub(super) async fn until_faults_end(&mut self, job: &Job<'_>) -> Result<(), Ending> {
        let footprint = self.daemon.footprint().await.map_err(|error| gone(&error))?;
        self.before = Some(footprint.lines);
        let drill = self.drill;
        let from = self.begin(Phase::Before).await?;
        self.conditions = Conditions::start(&drill.abort);
        if !drill.before.is_zero() {
            let probers = judge::start_probers(drill, Phase::Before, self.began);
            self.watch(Phase::Before, drill.before).await?;
            self.conclude(Phase::Before, from, &first_tries(&probers).await);
        }
        if self.checks.iter().any(|check| check.met == Some(false)) {
            return Err(Ending::NotBegun);
        }
        let from = self.begin(Phase::During).await?;
        let probers = judge::start_probers(drill, Phase::During, self.began);
        self.inject(job).await?;
        let watched = self.watch(Phase::During, drill.duration).await;
        // What was seen until an abort belongs into the report, too; but nothing is waited for then.
        let tries = if watched.is_ok() { first_tries(&probers).await } else { tries(&probers) };
        self.conclude(Phase::During, from, &tries);
        watched?;
        self.wait_for_faults().await
    }

    /// Starts a phase; the place of its first look.
    async fn begin(&mut self, phase: Phase) -> Result<usize, Ending> {
        self.phase = Some(phase);
        self.note(match phase {
            Phase::Before => "watching the steady state".to_owned(),
            Phase::During => "injecting the faults".to_owned(),
            Phase::After => "watching the steady state come back".to_owned(),
        });
        self.look().await?;
        Ok(self.looks.len() - 1)
    }

    /// Injects all faults; guardd and the kernel keep their times.
    async fn inject(&mut self, job: &Job<'_>) -> Result<(), Ending> {
        for (number, fault) in self.drill.faults.iter().enumerate() {
            let mut request = fault.clone();
            request.drill = Some(job.run_id.to_owned());
            request.seed = Some(job.seed.wrapping_add(number as u64));
            match self.daemon.inject(&request).await {
                Ok(record) => {
                    self.note(format!("fault {}: {}", record.id, described_fault(&record)));
                    self.injected.push(record.id);
                    self.faults.push(record);
                }
                Err(error) => return Err(Ending::NotInjected(error.error)),
            }
        }
        Ok(())
    }

    /// Looks once a second until the time is over or an abort condition fires.
    async fn watch(&mut self, phase: Phase, length: Duration) -> Result<(), Ending> {
        let from = Instant::now();
        while from.elapsed() < length {
            tokio::time::sleep(LOOK_EVERY.min(length.saturating_sub(from.elapsed()))).await;
            self.look().await?;
            self.progress(phase, from.elapsed(), length);
            for said in self.conditions.news() {
                self.note(said);
            }
            let counted =
                || self.drill.abort.iter().find_map(|a| judge::abort(a, Looks(&self.looks)));
            let fired = counted().or_else(|| self.conditions.fired());
            if let Some(why) = fired.filter(|_| phase == Phase::During) {
                self.note(format!("abort: {why}"));
                return Err(Ending::Aborted(why));
            }
        }
        Ok(())
    }

    /// Until guardd lists the faults as ended, so that their counters are complete.
    async fn wait_for_faults(&mut self) -> Result<(), Ending> {
        let from = Instant::now();
        while self.faults.iter().any(|fault| fault.state != "ended") {
            if from.elapsed() > OVERTIME {
                return Err(Ending::Interrupted("guardd did not end the faults in time".into()));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.list_faults().await?;
        }
        // Somebody may have ended one before its time.
        match self.faults.iter().find(|fault| fault.ended != "done") {
            None => Ok(()),
            Some(fault) => {
                Err(Ending::Interrupted(format!("fault {} was {}", fault.id, fault.ended)))
            }
        }
    }

    /// Judges the steady states of a phase whose first look is at `from`.
    fn conclude(&mut self, phase: Phase, from: usize, tries: &BTreeMap<usize, Tries>) {
        for (at, state) in self.drill.steady_state.iter().enumerate() {
            if !state.when.contains(&phase) {
                continue;
            }
            let looks = Looks(&self.looks[from..]);
            let check = judge::check(state, phase, looks, tries.get(&at));
            if let Some(miss) = check.first_miss_seconds {
                let what = format!("{}: {}, limit {}", check.name, check.measured, check.limit);
                self.note_at(Duration::from_secs_f64(miss.max(0.0)), format!("missed: {what}"));
            }
            self.checks.push(check);
        }
    }

    /// Until every steady state holds again, or the time for that is over.
    pub(super) async fn after(&mut self) {
        let drill = self.drill;
        let Ok(from) = self.begin(Phase::After).await else { return };
        let (began, over) = (Instant::now(), self.began.elapsed());
        let probers = judge::start_probers(drill, Phase::After, self.began);
        while began.elapsed() < drill.after {
            tokio::time::sleep(LOOK_EVERY.min(drill.after.saturating_sub(began.elapsed()))).await;
            if self.look().await.is_err() {
                break;
            }
            self.progress(Phase::After, began.elapsed(), drill.after);
            if self.has_recovered(from, &tries(&probers)) {
                let took = self.began.elapsed().saturating_sub(over).as_secs_f64();
                self.note(format!("the steady state is back, {took:.1} s after the faults"));
                break;
            }
        }
        // What happened while it recovered is not its steady state.
        let recent = Looks(&self.looks[from..]).last(RECOVERED_FOR).0.len();
        let tries = first_tries(&probers).await;
        self.conclude(Phase::After, self.looks.len() - recent, &tries);
    }

    fn has_recovered(&self, from: usize, tries: &BTreeMap<usize, Tries>) -> bool {
        let looks = Looks(&self.looks[from..]);
        if looks.span() < RECOVERED_FOR.min(self.drill.after) {
            return false;
        }
        let states = self.drill.steady_state.iter().enumerate();
        states.filter(|(_, state)| state.when.contains(&Phase::After)).all(|(at, state)| {
            let looks = looks.last(RECOVERED_FOR);
            judge::check(state, Phase::After, looks, tries.get(&at)).met == Some(true)
        })
    }
}

/// What the probes gave so far, by the place of their steady state.
fn tries(probers: &[(usize, Prober)]) -> BTreeMap<usize, Tries> {
    probers.iter().map(|(at, prober)| (*at, prober.tries())).collect()
}

/// The same after the first try of each, which takes as long as their longest timeout at most.
async fn first_tries(probers: &[(usize, Prober)]) -> BTreeMap<usize, Tries> {
    for (_, prober) in probers {
        prober.tried().await;
    }
    tries(probers)
}

fn described_fault(fault: &FaultRecord) -> String {
    let FaultRecord { effect, bulkhead, service, engine, .. } = fault;
    format!("{effect} on {bulkhead}/{service}, engine {engine}, seed {}", fault.seed)
}
