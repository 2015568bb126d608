//! Drills that are killed at random moments, in four ways: when did a fault touch traffic for the
//! last time, and is anything left on the host? A run that fails is named and the rest goes on; it
//! never hides one.
//!
//! Each lane is a thread in a network namespace of its own, with its own server and guardds. In one
//! namespace the rule that a killed guardd has left would hand packets to the queue of that number,
//! which the guardd of the next lane may have taken, until the lease is over.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use testbed::stats::{median, quantile};

use super::report::Row;
use super::server::Server;
use super::{Effort, netns};
use host::Host;
use one::{LIMIT, Plan, Way};
use touched::Traffic;

mod caller;
mod host;
mod one;
mod touched;

pub(crate) use caller::call;

const RUNS: usize = 200;
/// Runs at the same time, each with a guardd of its own. They mostly wait.
const LANES: usize = 3;
/// Signals come at any moment from the start of the runner on; the faults are there after 0.2 s or so.
const LATEST_MOMENT: Duration = Duration::from_millis(1500);

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let runs = effort.kills.unwrap_or_else(|| effort.pick(RUNS, RUNS / 10));
    ensure!(runs > 0, "no run, no number");
    let next = AtomicUsize::new(0);
    let good = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let lane = Lane::enter();
                let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < runs);
                while let Some(number) = take() {
                    let plan = plan(effort.seed, number);
                    let one = |lane: &Lane| one::run(plan, &lane.server, &lane.host);
                    let done = match &lane {
                        // What fails while it is cleaned up panics.
                        Ok(lane) => catch_unwind(AssertUnwindSafe(|| one(lane)))
                            .unwrap_or_else(|_| Err(anyhow!("panicked; see above"))),
                        Err(error) => Err(anyhow!("no lane: {error:#}")),
                    };
                    match done {
                        Ok(traffic) => {
                            let mut good = good.lock().unwrap_or_else(PoisonError::into_inner);
                            good.push((plan.way, traffic));
                        }
                        Err(error) => eprintln!(
                            "  run {number} of seed {} FAILED ({plan:?}): {error:#}",
                            effort.seed
                        ),
                    }
                }
            });
        }
    });
    let good = good.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(rows(runs, &good))
}

/// Where runs follow one another.
struct Lane {
    server: Server,
    host: Host,
}

impl Lane {
    /// Takes the calling thread, and all that it starts from now on, into a namespace of its own.
    fn enter() -> Result<Self> {
        netns::enter()?;
        Ok(Self { server: Server::start(None)?, host: Host::look()? })
    }
}

fn rows(runs: usize, good: &[(Way, Traffic)]) -> Vec<Row> {
    let acting = good.iter().filter(|(_, traffic)| traffic.before > 0).count();
    let mut rows = vec![
        Row::single(
            "drills killed, of which nothing was left and no fault acted late",
            "",
            good.len() as f64,
        )
        .target(format!("{runs}"), good.len() == runs)
        .of(runs),
        Row::single("of them killed when a fault had acted already", "", acting as f64).of(runs),
    ];
    let of = |what: String, way: Option<Way>| {
        let chosen = good
            .iter()
            .filter(|(of, traffic)| way.is_none_or(|way| way == *of) && traffic.before > 0);
        let seconds: Vec<f64> = chosen.map(|(_, traffic)| traffic.last.as_secs_f64()).collect();
        let at = |q| quantile(&seconds, q).unwrap_or(f64::NAN);
        let limit = LIMIT.as_secs_f64();
        [
            Row::single(
                format!("{what}: last touch, median"),
                "s",
                median(&seconds).unwrap_or(f64::NAN),
            )
            .of(seconds.len()),
            Row::single(format!("{what}: last touch, longest"), "s", at(1.0))
                .target(format!("<= {limit} s"), at(1.0) <= limit)
                .of(seconds.len()),
        ]
    };
    rows.extend(of("all ways".to_owned(), None));
    rows.extend(Way::ALL.into_iter().flat_map(|way| of(way.to_string(), Some(way))));
    rows
}

/// The ways take turns, their two ends too; moments are drawn from the seed.
fn plan(seed: u64, number: usize) -> Plan {
    let share = (split_mix(seed ^ (number as u64) << 32) >> 11) as f64 / (1_u64 << 53) as f64;
    Plan {
        way: Way::ALL[number % Way::ALL.len()],
        moment: LATEST_MOMENT.mul_f64(share),
        first_end: (number / Way::ALL.len()).is_multiple_of(2),
    }
}

/// One step of SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
