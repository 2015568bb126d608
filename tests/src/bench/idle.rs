//! What guardd costs while nothing happens, and how fast it starts and answers, with 100
//! bulkheads and 100 services.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::guardd::Guardd;
use testbed::stats::median;

use super::report::Row;
use super::{Effort, many};

/// Largest share of one processor, percent.
const CPU_LIMIT_PERCENT: f64 = 0.2;
/// Largest resident memory, MiB.
const MEMORY_LIMIT_MIB: f64 = 25.0;
/// What happens after the start (resolver, allocator) settles in this time.
const SETTLE: Duration = Duration::from_secs(6);

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let mut guardd = Guardd::prepare(many::config(443))?;
    let start = Instant::now();
    guardd.launch()?;
    guardd.wait_ready()?;
    let started = start.elapsed();
    let pid = guardd.pid()?;
    thread::sleep(SETTLE);
    let resident_at_start = resident_mib(pid)?;
    let watched = effort.pick(Duration::from_mins(1), Duration::from_secs(10));
    let (before, clock) = (cpu_seconds(pid)?, Instant::now());
    thread::sleep(watched);
    let used_percent = (cpu_seconds(pid)? - before) / clock.elapsed().as_secs_f64() * 100.0;
    let questions = effort.pick(20, 5);
    let timed = |mut ask: Box<dyn FnMut() -> Result<()> + '_>| -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..questions {
            let start = Instant::now();
            ask()?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(median(&times).unwrap_or(f64::NAN))
    };
    let status = timed(Box::new(|| guardd.ctl_json(&["status"]).map(drop)))?;
    let scrape = timed(Box::new(|| guardd.metrics().map(drop)))?;
    let resident = resident_mib(pid)?;
    let maps = map_mib(pid)?;
    guardd.finish()?;
    let limit = format!("< {MEMORY_LIMIT_MIB} MiB");
    Ok(vec![
        Row::single(format!("processor over {} s", watched.as_secs()), "%", used_percent)
            .target(format!("< {CPU_LIMIT_PERCENT} %"), used_percent < CPU_LIMIT_PERCENT),
        Row::single("resident memory", "MiB", resident_at_start)
            .target(limit.clone(), resident_at_start < MEMORY_LIMIT_MIB),
        Row::single("resident memory after status and scrapes", "MiB", resident)
            .target(limit, resident < MEMORY_LIMIT_MIB),
        Row::single("memory of the kernel's maps", "MiB", maps),
        Row::single("start until ready", "ms", started.as_secs_f64() * 1e3),
        Row::single("guardctl status", "ms", status).of(questions),
        Row::single("/metrics", "ms", scrape).of(questions),
    ])
}

/// Processor time of a process so far, user and system, all threads.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces; state is the first field after it, utime the 12th.
    let (_, rest) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || -> Result<f64> { Ok(fields.next().context("short stat")?.parse()?) };
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?;
    Ok((ticks()? + ticks()?) / per_second.context("no clock tick")? as f64)
}

fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.and_then(|l| l.split_whitespace().next()).context("no VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}

/// Kernel memory of the maps that a process holds, as the kernel accounts for it.
pub(crate) fn map_mib(pid: u32) -> Result<f64> {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let text = fs::read_to_string(entry?.path())?;
        let field = |name: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
        };
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            maps.insert(id, bytes);
        }
    }
    Ok(maps.values().sum::<u64>() as f64 / 1024.0 / 1024.0)
}
