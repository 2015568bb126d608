//! Abort conditions by PromQL: asked again and again beside the drill, from its beginning, so that a
//! slow Prometheus holds up nothing. It says when one fires; it ends no drill itself.
//!
//! A try without a number (no answer, no sample) is neither bad nor good: it does not fire, and it
//! does not make a bad time begin anew, since what is broken may have broken Prometheus' data too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::super::spec::{Abort, Condition, Query};
use super::judge;
use super::promql::{self, Answer};

/// Rest between two tries.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The conditions that are watched; none any more when this is dropped.
#[derive(Default)]
pub(super) struct Conditions(Vec<Watched>);

struct Watched {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Conditions {
    /// Begins to watch those that need requests.
    pub(super) fn start(all: &[Abort]) -> Self {
        Self(all.iter().filter_map(Watched::start).collect())
    }

    /// What the first of them says that has fired.
    pub(super) fn fired(&self) -> Option<String> {
        self.0.iter().find_map(|watched| watched.lock().fired.clone())
    }

    /// That one of them cannot be told, once for each; for the drill's timeline.
    pub(super) fn news(&self) -> Vec<String> {
        self.0.iter().filter_map(|watched| watched.lock().unknown.take_news()).collect()
    }
}

impl Watched {
    fn start(abort: &Abort) -> Option<Self> {
        let Condition::Promql { query, below, above } = &abort.condition else { return None };
        let bounds = Bounds { below: *below, above: *above, window: abort.window };
        let (query, seen) = (query.clone(), Arc::new(Mutex::new(Seen::default())));
        let (to, began) = (Arc::clone(&seen), Instant::now());
        let task = tokio::spawn(async move {
            loop {
                let answer = promql::ask(&query).await;
                let now = began.elapsed();
                to.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(&answer, now, &bounds, &query);
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        });
        Some(Self { seen, task })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is good, and how long it may be bad.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    below: Option<f64>,
    above: Option<f64>,
    window: Duration,
}

/// What the tries gave so far.
#[derive(Debug, Default)]
struct Seen {
    /// The first of the tries that were all bad.
    bad_since: Option<Duration>,
    /// What it says now that it has been bad for its time.
    fired: Option<String>,
    unknown: News,
}

/// Something that is told once.
#[derive(Debug, Default)]
enum News {
    #[default]
    None,
    New(String),
    Told,
}

impl News {
    fn take_news(&mut self) -> Option<String> {
        match std::mem::replace(self, Self::Told) {
            Self::New(text) => Some(text),
            Self::None => {
                *self = Self::None;
                None
            }
            Self::Told => None,
        }
    }
}

impl Seen {
    /// One more answer, `now` counted from the first.
    fn take(&mut self, answer: &Answer, now: Duration, bounds: &Bounds, query: &Query) {
        let value = match answer {
            Answer::Number(value) if !value.is_nan() => *value,
            Answer::Number(_) => return self.cannot_tell(query, "NaN"),
            Answer::Nothing => return self.cannot_tell(query, "no sample"),
            Answer::Failed(why) => return self.cannot_tell(query, why),
        };
        let limit = match (bounds.below, bounds.above) {
            (Some(low), _) if value < low => format!("< {}", judge::value(low)),
            (_, Some(high)) if value > high => format!("> {}", judge::value(high)),
            _ => {
                self.bad_since = None;
                self.fired = None;
                return;
            }
        };
        let since = *self.bad_since.get_or_insert(now);
        if now.saturating_sub(since) >= bounds.window {
            let (promql, value) = (&query.promql, judge::value(value));
            self.fired = Some(format!("{promql} is {value} {limit} for {:?}", bounds.window));
        }
    }

    fn cannot_tell(&mut self, query: &Query, why: &str) {
        if matches!(self.unknown, News::None) {
            let text = format!("abort condition cannot be told: {}: {why}", query.promql);
            self.unknown = News::New(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds =
        Bounds { below: Some(1.0), above: Some(9.0), window: Duration::from_secs(2) };

    /// What is said after these answers, one a second.
    fn after(answers: &[Answer]) -> Seen {
        let query = Query {
            prometheus: "http://127.0.0.1:1".into(),
            promql: "up".into(),
            timeout: Duration::from_secs(1),
        };
        let mut seen = Seen::default();
        for (at, answer) in answers.iter().enumerate() {
            seen.take(answer, Duration::from_secs(at as u64), &BOUNDS, &query);
        }
        seen
    }

    #[test]
    fn it_fires_when_all_of_the_window_was_bad() {
        let fired = |values: &[f64]| {
            after(&values.iter().copied().map(Answer::Number).collect::<Vec<_>>()).fired
        };
        assert_eq!(fired(&[10.0, 10.0]), None, "one second of two");
        assert_eq!(fired(&[10.0, 10.0, 9.5]).as_deref(), Some("up is 9.5 > 9 for 2s"));
        assert_eq!(fired(&[0.0, 10.0, 0.5]).as_deref(), Some("up is 0.5 < 1 for 2s"));
        assert_eq!(fired(&[0.0, 1.0, 0.0, 0.0]), None, "it was good in between");
        assert_eq!(fired(&[0.0, 0.0, 0.0, 9.0]), None, "it is good again");
    }

    #[test]
    fn what_cannot_be_told_does_not_fire_and_does_not_make_it_good() {
        let bad = || Answer::Number(0.0);
        let (none, nan) = (Answer::Nothing, Answer::Number(f64::NAN));
        let failed = || Answer::Failed("gone".into());
        assert_eq!(after(&[none.clone(), nan.clone(), failed(), none.clone()]).fired, None);
        assert_eq!(after(&[bad(), failed(), none.clone()]).fired, None, "only one is known");
        assert!(after(&[bad(), failed(), bad()]).fired.is_some());
        let mut seen = after(&[bad(), failed(), none]);
        let told = "abort condition cannot be told: up: gone";
        assert_eq!(seen.unknown.take_news().as_deref(), Some(told));
        assert_eq!(seen.unknown.take_news(), None);
    }
}
