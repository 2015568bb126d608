//! What is seen while a drill goes on: numbers once a second, and what happened, both also for whoever
//! watches. Nothing is judged here.

use std::time::Duration;

use jiff::Timestamp;

use super::daemon::{Daemon, Progress, Watcher};
use super::look::Look;
use super::verdict::Ending;
use super::{Run, gone};
use crate::drill::record::{Moment, Sample};
use crate::drill::spec::Phase;

impl<D: Daemon, W: Watcher> Run<'_, D, W> {
    /// Asks for all numbers.
    pub(super) async fn look(&mut self) -> Result<(), Ending> {
        let answers = tokio::try_join!(self.daemon.status(), self.daemon.breakers());
        let (status, breakers) = answers.map_err(|error| gone(&error))?;
        if !self.injected.is_empty() {
            self.list_faults().await?;
        }
        let look = Look::new(self.began.elapsed(), &status, &breakers.breakers);
        if let (Some(last), Some(phase)) = (self.looks.last(), self.phase) {
            let pairs = look.samples_since(last);
            for pair in &pairs {
                let before = last.breaker(&pair.bulkhead, &pair.service).unwrap_or_default();
                if !pair.breaker.is_empty() && pair.breaker != before {
                    let what = format!(
                        "breaker {}/{}: {before} -> {}",
                        pair.bulkhead, pair.service, pair.breaker
                    );
                    let moment = self.moment(look.at, what);
                    self.watcher.moment(&moment);
                    self.timeline.push(moment);
                }
            }
            self.samples.push(Sample { seconds: look.at.as_secs_f64(), phase, pairs });
        }
        self.looks.push(look);
        Ok(())
    }

    pub(super) async fn list_faults(&mut self) -> Result<(), Ending> {
        let mut listed = self.daemon.faults().await.map_err(|error| gone(&error))?.faults;
        for fault in &mut self.faults {
            if let Some(at) = listed.iter().position(|listed| listed.id == fault.id) {
                *fault = listed.swap_remove(at);
            }
        }
        Ok(())
    }

    pub(super) fn progress(&mut self, phase: Phase, at: Duration, limit: Duration) {
        let Some(sample) = self.samples.last() else { return };
        self.watcher.progress(&Progress {
            phase,
            phase_seconds: at.as_secs_f64(),
            phase_limit_seconds: limit.as_secs_f64(),
            sample,
            faults: &self.faults,
        });
    }

    pub(super) fn note(&mut self, what: String) {
        self.note_at(self.began.elapsed(), what);
    }

    pub(super) fn note_at(&mut self, at: Duration, what: String) {
        let moment = self.moment(at, what);
        self.watcher.moment(&moment);
        self.timeline.push(moment);
    }

    fn moment(&self, at: Duration, what: String) -> Moment {
        let ago = self.began.elapsed().saturating_sub(at);
        let time = Timestamp::now().checked_sub(ago).unwrap_or_else(|_| Timestamp::now());
        Moment { time: time.to_string(), seconds: at.as_secs_f64(), phase: self.phase, what }
    }
}
