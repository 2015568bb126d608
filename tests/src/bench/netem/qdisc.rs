//! The queueing discipline of the loopback device, for as long as a value lives.

use std::process::Command;

use anyhow::{Context, Result, ensure};

pub(super) struct Qdisc(());

impl Qdisc {
    /// `words`: kind and options, as tc takes them.
    pub(super) fn new(words: &str) -> Result<Self> {
        tc(&format!("qdisc replace dev lo root {words}"))?;
        Ok(Self(()))
    }
}

impl Drop for Qdisc {
    fn drop(&mut self) {
        if let Err(error) = tc("qdisc del dev lo root") {
            eprintln!("the queueing discipline of lo stays: {error:#}");
        }
    }
}

fn tc(line: &str) -> Result<()> {
    let output = Command::new("tc").args(line.split(' ')).output().context("cannot run tc")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tc {line}: {}", said.trim());
    Ok(())
}
