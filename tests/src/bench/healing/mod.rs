//! The failure suite of self-healing: eight failures that agents really meet, each with guard and
//! without, and how long after the end of the outage the agent works again without a person. What is
//! not healed within a minute counts as not healed; it never counts what it could not run.
//!
//! Each lane is a thread with a server, an agent and, on the guarded side, a guardd of its own: the
//! lanes mostly wait, so they run at the same time.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use testbed::stats::median;

use super::Effort;
use super::paired::Side;
use super::report::Row;

mod calls;
mod follow;
mod lane;
mod processes;
mod quota;
mod work;

pub(crate) use work::{Work, main as work};

/// How long a service is away.
const OUTAGE: Duration = Duration::from_secs(20);
/// How long after the outage an agent may take; what takes longer, a person would have to heal.
const PATIENCE: Duration = Duration::from_mins(1);
/// Share of failures that must heal by themselves, and the median of their times.
const HEALED: f64 = 0.9;
const MEDIAN: Duration = Duration::from_secs(5);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The service refuses connections for a while.
    Down,
    /// It takes requests and never answers them, for a while.
    Hang,
    /// It resets each connection after the request, for a while.
    Resets,
    /// It has a quota, and answers 429 to whoever keeps calling above it.
    Throttled,
    /// The agent dies in the middle of its task, and of a write.
    Crash,
    /// The agent wants more and more memory.
    Leak,
    /// The server was started anew, and all pooled connections are dead.
    Stale,
    /// The local resolver has died.
    Dns,
}

impl Failure {
    const ALL: [Self; 8] = [
        Self::Down,
        Self::Hang,
        Self::Resets,
        Self::Throttled,
        Self::Crash,
        Self::Leak,
        Self::Stale,
        Self::Dns,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Down => "service down",
            Self::Hang => "service hangs",
            Self::Resets => "service resets",
            Self::Throttled => "429 storm",
            Self::Crash => "agent crashes in its task",
            Self::Leak => "agent leaks memory",
            Self::Stale => "stale connections",
            Self::Dns => "resolver gone",
        }
    }

    /// Time above the outage; `None` = not healed.
    fn run(self, side: Side) -> Result<Option<Duration>> {
        match self {
            Self::Down | Self::Hang | Self::Resets | Self::Stale => calls::run(self, side),
            Self::Throttled => quota::run(side),
            Self::Crash => processes::crash(side),
            Self::Leak => processes::leak(side),
            Self::Dns => processes::dns(side),
        }
    }
}

/// One run.
struct Run {
    failure: Failure,
    side: Side,
    took: Option<Duration>,
}

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let mut failures = Failure::ALL.to_vec();
    if !processes::can_limit_memory()? {
        eprintln!("  no memory in cgroup2 here: the leak is left out");
        failures.retain(|failure| *failure != Failure::Leak);
    }
    let rounds = effort.pick(5, 1);
    let runs = Mutex::new(Vec::new());
    for _ in 0..rounds {
        thread::scope(|scope| {
            for (failure, side) in
                failures.iter().flat_map(|f| [(*f, Side::Guarded), (*f, Side::Bare)])
            {
                let runs = &runs;
                scope.spawn(move || {
                    let took = failure.run(side);
                    let name = failure.name();
                    let took = took.unwrap_or_else(|error| {
                        eprintln!("  {name} ({side:?}) FAILED: {error:#}");
                        None
                    });
                    let mut runs = runs.lock().unwrap_or_else(PoisonError::into_inner);
                    runs.push(Run { failure, side, took });
                });
            }
        });
    }
    let runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(rows(&failures, &runs))
}

fn rows(failures: &[Failure], runs: &[Run]) -> Vec<Row> {
    let of = |failure: Option<Failure>, side: Side| {
        let chosen: Vec<&Run> = runs
            .iter()
            .filter(|run| run.side == side && failure.is_none_or(|f| f == run.failure))
            .collect();
        let seconds: Vec<f64> =
            chosen.iter().filter_map(|run| Some(run.took?.as_secs_f64())).collect();
        (chosen.len(), seconds)
    };
    let mut rows = Vec::new();
    for failure in failures {
        let (count, guarded) = of(Some(*failure), Side::Guarded);
        let (_, bare) = of(Some(*failure), Side::Bare);
        let name = failure.name();
        rows.push(
            Row::both(format!("{name}: healed"), "", guarded.len() as f64, bare.len() as f64)
                .of(count),
        );
        let middle = |seconds: &[f64]| median(seconds).unwrap_or(f64::NAN);
        rows.push(
            Row::both(format!("{name}: after the outage"), "s", middle(&guarded), middle(&bare))
                .of(count),
        );
    }
    let (count, guarded) = of(None, Side::Guarded);
    let (_, bare) = of(None, Side::Bare);
    let share = guarded.len() as f64 / count as f64;
    rows.push(
        Row::both("healed without a person", "%", 100.0 * share, percent(bare.len(), count))
            .target(format!(">= {} %", 100.0 * HEALED), share >= HEALED)
            .of(count),
    );
    // What was not healed is later than all that was: the median of all, not of the healed ones.
    let all = |mut seconds: Vec<f64>| {
        seconds.resize(count, f64::INFINITY);
        median(&seconds).unwrap_or(f64::NAN)
    };
    let (guarded, bare) = (all(guarded), all(bare));
    rows.push(
        Row::both("median of all, not healed = endless", "s", guarded, bare)
            .target(format!("< {} s", MEDIAN.as_secs()), guarded < MEDIAN.as_secs_f64())
            .of(count),
    );
    rows
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}
