//! How long an agent stands still for a checkpoint of 100 MiB: when little of its state changes while
//! it is copied, and when all of it does. On the file system of the temporary directory: set
//! TMPDIR to one on xfs or btrfs to see it with shared blocks.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::guardd::{Guardd, GuarddConfig};
use testbed::stats::median;
use testbed::wait;

use super::Effort;
use super::report::Row;

const FILES: usize = 100;
const FILE_BYTES: usize = 1 << 20;
/// Targets, milliseconds.
const SHARED_MS: f64 = 50.0;
const COPIED_MS: f64 = 500.0;

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let home = tempfile::Builder::new().prefix("guard-bench-").tempdir()?;
    let shares = shares_blocks(home.path())?;
    let how = if shares { "blocks shared" } else { "blocks copied" };
    let limit = if shares { SHARED_MS } else { COPIED_MS };
    let mut rows = Vec::new();
    for (what, names) in [("1 of 100 files changes", "state/f0"), ("all files change", "state/*")] {
        let mut frozen = measure(home.path(), names, effort.rounds(50))?;
        let middle = median(&frozen).unwrap_or(f64::NAN);
        frozen.sort_by(f64::total_cmp);
        let most = frozen.last().copied().unwrap_or(f64::NAN);
        let row =
            |which, value| Row::single(format!("frozen, {what}, {how}, {which}"), "ms", value);
        rows.push(row("median", middle).target(format!("x < {limit}"), middle < limit));
        rows.push(row("longest", most));
    }
    Ok(rows)
}

/// Milliseconds of each checkpoint.
fn measure(home: &Path, names: &str, rounds: usize) -> Result<Vec<f64>> {
    let home = fs::canonicalize(home)?;
    let state = home.join("state");
    fs::create_dir_all(&state)?;
    for n in 0..FILES {
        fs::write(state.join(format!("f{n}")), vec![n as u8 + 1; FILE_BYTES])?;
    }
    let agent = home.join("agent");
    let place = home.display();
    let script = format!("#!/bin/sh\ncd {place}\nwhile :; do touch {names}; sleep 0.01; done\n");
    fs::write(&agent, script)?;
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755))?;
    let body = format!(
        "[bulkheads.b]\n[agents.b]\ncommand = [\"{place}/agent\"]\n[agents.b.checkpoint]\n\
         paths = [\"{place}/state\"]\nevery = \"24h\"\nkeep = 2\nmax_freeze = \"10s\"\n"
    );
    let guardd = Guardd::start(GuarddConfig::new(body))?;
    let running = || {
        let list = guardd.ctl_json(&["agent", "list"]);
        list.is_ok_and(|list| list["agents"][0]["state"] == "running")
    };
    wait::until("the agent", Duration::from_secs(10), running)?;
    let mut frozen = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let saved = guardd.ctl_json(&["checkpoint", "save", "b"])?;
        let newest = &saved["checkpoints"][0];
        ensure!(newest["bytes"] == (FILES * FILE_BYTES) as u64, "not all of it: {saved}");
        let seconds = newest["frozen_seconds"].as_f64().context("no time")?;
        ensure!(seconds > 0.0, "it was not frozen: {saved}");
        frozen.push(seconds * 1e3);
    }
    let stopped = guardd.ctl(&["agent", "stop", "b"])?;
    ensure!(stopped.code == 0, "{}", stopped.stderr);
    guardd.finish()?;
    Ok(frozen)
}

fn shares_blocks(directory: &Path) -> Result<bool> {
    let from = directory.join("from");
    fs::write(&from, vec![1; 1 << 16])?;
    let to = fs::File::create(directory.join("to"))?;
    Ok(rustix::fs::ioctl_ficlone(&to, fs::File::open(from)?).is_ok())
}
