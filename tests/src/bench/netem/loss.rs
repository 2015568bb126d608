//! Loss: the share of datagrams that do not arrive, and how many in a row.

use anyhow::Result;

use super::super::Effort;
use super::super::report::Row;
use super::{Bench, Engine};

/// Datagrams of a measurement.
const COUNT: u64 = 100_000;
/// Standard deviations of 99 %.
const Z: f64 = 2.576;
/// Share lost and average burst of the bursty loss.
const BURSTY: (f64, f64) = (0.05, 4.0);

pub(super) fn rows(bench: &Bench, effort: Effort) -> Result<Vec<Row>> {
    let count = effort.pick(COUNT, COUNT / 10);
    let mut rows = Vec::new();
    for percent in [1.0, 10.0] {
        let share = percent / 100.0;
        let spread = (share * (1.0 - share) / count as f64).sqrt();
        let fault = format!("--loss {percent}% --seed 1");
        let (guard, netem) = both(bench, count, &fault, &format!("loss {percent}%"))?;
        let what = format!("loss of {percent} %");
        rows.push(share_row(&what, share, spread, &guard, &netem).of(count as usize));
    }
    let (share, burst) = BURSTY;
    let (begin, end) = (share / (burst * (1.0 - share)), 1.0 / burst);
    let fault = format!("--loss {}% --burst {burst} --seed 1", share * 100.0);
    // netem: chance of a burst, chance of its end, both in percent; within it all is lost.
    let netem = format!("loss gemodel {:.4}% {}%", begin * 100.0, end * 100.0);
    let (guard, netem) = both(bench, count, &fault, &netem)?;
    // Neighbours are alike, so the share spreads more (variance of a two-state chain).
    let alike = 1.0 - begin - end;
    let widening = ((1.0 + alike) / (1.0 - alike)).sqrt();
    let spread = widening * (share * (1.0 - share) / count as f64).sqrt();
    let what = format!("loss of {} % in bursts of {burst}", share * 100.0);
    rows.push(share_row(&what, share, spread, &guard, &netem).of(count as usize));
    let bursts = share * count as f64 / burst;
    let error = Z * (burst * (burst - 1.0) / bursts).sqrt();
    rows.push(
        Row::both(format!("{what}: mean burst"), "", guard.burst, netem.burst)
            .target(format!("{burst} +- {error:.2}"), (guard.burst - burst).abs() <= error)
            .of(bursts as usize),
    );
    Ok(rows)
}

/// What was lost of a flow.
pub(crate) struct Lost {
    /// Of all.
    pub(crate) share: f64,
    /// Mean length of a run of lost ones.
    pub(crate) burst: f64,
}

impl Lost {
    /// From which of them arrived, in order.
    pub(crate) fn of(arrived: &[bool]) -> Self {
        let lost = arrived.iter().filter(|arrived| !**arrived).count() as f64;
        let runs = arrived.chunk_by(|a, b| a == b).filter(|run| !run[0]).count() as f64;
        Self { share: lost / arrived.len() as f64, burst: lost / runs }
    }
}

/// guard (loss needs no engine), and netem.
fn both(bench: &Bench, count: u64, fault: &str, netem: &str) -> Result<(Lost, Lost)> {
    let of = |engine| {
        let arrived = bench.disturbed(engine, fault, netem, |p, s| p.arrived(s, count))?;
        Ok::<_, anyhow::Error>(Lost::of(&arrived))
    };
    Ok((of(Engine::Nfqueue)?, of(Engine::Netem)?))
}

fn share_row(what: &str, share: f64, spread: f64, guard: &Lost, netem: &Lost) -> Row {
    let error = Z * spread;
    Row::both(what, "%", guard.share * 100.0, netem.share * 100.0).target(
        format!("{} +- {:.3} % (99 %)", share * 100.0, error * 100.0),
        (guard.share - share).abs() <= error,
    )
}

#[cfg(test)]
mod tests {
    use super::Lost;

    #[test]
    fn bursts_are_counted_as_runs() {
        let lost = Lost::of(&[true, false, false, true, false, true, true, false]);
        assert!((lost.share - 0.5).abs() < 1e-9 && (lost.burst - 4.0 / 3.0).abs() < 1e-9);
    }
}
