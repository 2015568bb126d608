//! A fixed delay: how far from what was asked each datagram's is.

use std::time::Duration;

use anyhow::Result;
use testbed::stats::{median, quantile};

use super::super::Effort;
use super::super::paired::Paired;
use super::super::report::Row;
use super::{Bench, Engine, mean};

const DELAYS_MS: [u32; 4] = [1, 10, 100, 1000];
const ROUNDS: usize = 12;
/// Datagrams of a round.
const COUNT: usize = 200;
const GAP: Duration = Duration::from_millis(3);

/// Of all rounds of one engine.
#[derive(Default)]
struct Seen {
    /// What each datagram's delay was more than asked for, ms.
    errors_ms: Vec<f64>,
    /// Mean of their absolute values, by round.
    mean_absolute_ms: Vec<f64>,
}

pub(super) fn rows(bench: &Bench, effort: Effort) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for asked_ms in DELAYS_MS {
        let mut seen = Engine::ALL.map(|engine| (engine, Seen::default()));
        for round in 0..effort.rounds(ROUNDS) {
            // Each engine comes first, in the middle and last.
            seen.rotate_left(round % Engine::ALL.len());
            for (engine, seen) in &mut seen {
                measure(bench, *engine, asked_ms, seen)?;
            }
            seen.sort_by_key(|(engine, _)| Engine::ALL.iter().position(|known| known == engine));
        }
        let [edt, nfqueue, netem] = seen;
        for (engine, guard) in [&edt, &nfqueue] {
            rows.extend(compare(asked_ms, *engine, guard, &netem.1));
        }
    }
    Ok(rows)
}

fn measure(bench: &Bench, engine: Engine, asked_ms: u32, seen: &mut Seen) -> Result<()> {
    let longest = Duration::from_secs(10);
    let calm = bench.calm(engine, |p, s| p.one_way_ms(s, COUNT / 4, GAP, longest))?;
    let (fault, netem) = (format!("--latency {asked_ms}ms"), format!("delay {asked_ms}ms"));
    let times = bench.disturbed(engine, &fault, &netem, |probe, sender| {
        probe.one_way_ms(sender, COUNT, GAP, longest)
    })?;
    let calm = median(&calm).unwrap_or(f64::NAN);
    let errors: Vec<f64> = times.iter().map(|time| time - calm - f64::from(asked_ms)).collect();
    seen.mean_absolute_ms.push(mean(&errors.iter().map(|e| e.abs()).collect::<Vec<_>>()));
    seen.errors_ms.extend(errors);
    Ok(())
}

fn compare(asked_ms: u32, engine: Engine, guard: &Seen, netem: &Seen) -> Vec<Row> {
    let paired =
        Paired { guarded: guard.mean_absolute_ms.clone(), bare: netem.mean_absolute_ms.clone() };
    let name = engine.name();
    let at = |seen: &Seen, q| quantile(&seen.errors_ms, q).unwrap_or(f64::NAN);
    let of = guard.errors_ms.len();
    vec![
        Row::difference(format!("{asked_ms} ms {name}: mean absolute error"), "ms", &paired)
            // Above means: more than the rounds differ by chance.
            .target("not above netem's", paired.difference().low <= 0.0)
            .of(of),
        Row::both(
            format!("{asked_ms} ms {name}: median error"),
            "ms",
            at(guard, 0.5),
            at(netem, 0.5),
        )
        .of(of),
        Row::both(
            format!("{asked_ms} ms {name}: spread (5 % to 95 %)"),
            "ms",
            at(guard, 0.95) - at(guard, 0.05),
            at(netem, 0.95) - at(netem, 0.05),
        )
        .of(of),
    ]
}
