//! guard's latency and loss against `tc netem` on one kernel, side by side: `cargo xtask vm --bench
//! netem`. It replaces the queueing discipline of the loopback device, so it refuses to run
//! anywhere but in a virtual machine of ours.

use std::env;

use anyhow::{Context, Result, ensure};

use super::Effort;
use super::paired::Side;
use super::probe::Probe;
use super::report::Row;
use super::sides::Sides;
use qdisc::Qdisc;

mod delay;
mod jitter;
pub(crate) mod loss;
mod qdisc;

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    ensure!(
        env::var_os("GUARD_VM").is_some(),
        "this changes how the loopback device queues, for every program: run `cargo xtask vm \
         --bench netem`, which does it in a virtual machine"
    );
    let probe = Probe::new()?;
    let sides = Sides::start(&[probe.address()?])?;
    let bench = Bench { probe, sides };
    let mut rows = delay::rows(&bench, effort)?;
    rows.extend(jitter::rows(&bench, effort)?);
    rows.extend(loss::rows(&bench, effort)?);
    bench.sides.finish()?;
    Ok(rows)
}

/// Who disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    /// guard with departure times, which `fq` keeps.
    Edt,
    /// guard with a netfilter queue.
    Nfqueue,
    /// The kernel's network emulator.
    Netem,
}

impl Engine {
    const ALL: [Self; 3] = [Self::Edt, Self::Nfqueue, Self::Netem];
    const GUARD: [Self; 2] = [Self::Edt, Self::Nfqueue];

    /// Where the disturbed socket is made.
    const fn side(self) -> Side {
        match self {
            Self::Edt | Self::Nfqueue => Side::Guarded,
            Self::Netem => Side::Bare,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Edt => "EDT",
            Self::Nfqueue => "NFQUEUE",
            Self::Netem => "netem",
        }
    }
}

struct Bench {
    probe: Probe,
    sides: Sides,
}

impl Bench {
    /// Measures while an engine disturbs: `fault` as guardctl's words, `netem` as tc's.
    fn disturbed<T>(
        &self,
        engine: Engine,
        fault: &str,
        netem: &str,
        measure: impl FnOnce(&Probe, &std::net::UdpSocket) -> Result<T>,
    ) -> Result<T> {
        let sender = self.sides.inside(engine.side(), || self.probe.sender())?;
        let _qdisc = match engine {
            // By default it drops the 101st waiting packet of a flow.
            Engine::Edt => Some(Qdisc::new("fq limit 100000 flow_limit 100000")?),
            Engine::Nfqueue => None,
            Engine::Netem => Some(Qdisc::new(&format!("netem limit 100000 {netem}"))?),
        };
        if engine == Engine::Netem {
            return measure(&self.probe, &sender);
        }
        let injected = self.sides.inject(&fault.split(' ').collect::<Vec<_>>())?;
        let used = injected["engine"].as_str().context("the fault has no engine")?;
        let loss = used == "kernel";
        ensure!(
            loss || used == engine.name().to_lowercase(),
            "guard chose {used} in place of {}",
            engine.name()
        );
        let measured = measure(&self.probe, &sender);
        self.sides.clear()?;
        measured
    }

    /// Measures without a fault, for what an engine's fault adds.
    fn calm<T>(
        &self,
        engine: Engine,
        measure: impl FnOnce(&Probe, &std::net::UdpSocket) -> Result<T>,
    ) -> Result<T> {
        let sender = self.sides.inside(engine.side(), || self.probe.sender())?;
        measure(&self.probe, &sender)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
