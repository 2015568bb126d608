//! Limits of memory, processors, processes and block devices: values of a cgroup's files, the controllers that
//! they need, and what the kernel counts about them.
//!
//! It never switches a controller on in a cgroup that somebody else manages, never sets a limit on
//! a cgroup that others depend on, and never writes a value that would kill at once. Whatever it
//! is about to write, the caller hears first, with the value before it.

mod controllers;
mod device;
mod place;
mod preflight;
mod stricter;
mod usage;
mod value;
mod watch;

use nix::unistd::{SysconfVar, sysconf};

use crate::plan::LimitsPlan;

pub use controllers::{Refusal, check as check_controller, switch_off, switch_on};
pub use device::are_weighed as devices_are_weighed;
pub use place::Part;
pub use preflight::{Finding, memory_of_host, offered, preflight};
pub use usage::{IoCounts, MemoryEvents, Pressure, Stall, Usage};
pub use value::{Restored, restore, standing};
pub use watch::Watch;

/// One period of `cpu.max`, microseconds: the kernel's default.
const CPU_PERIOD_US: f64 = 100_000.0;

/// A value that a file of a cgroup shall have.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Key of the configuration, such as `memory_max`.
    pub key: &'static str,
    /// The controller that has the file; empty = every cgroup has it.
    pub controller: &'static str,
    /// The file.
    pub file: &'static str,
    /// The part of the file that it is.
    pub part: Part,
    /// What is written and, where it is in force, read back.
    pub value: String,
    /// The same in base units: bytes, processors, processes; of block devices per second.
    pub number: f64,
}

/// What `plan` asks for, as the kernel writes it.
pub fn settings(plan: &LimitsPlan) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut add = |key, controller, file, value: String, number| {
        settings.push(Setting { key, controller, file, part: Part::Whole, value, number });
    };
    // High before max: whoever is above both is slowed down before it is killed.
    for (key, file, bytes) in [
        ("memory_high", "memory.high", plan.memory_high),
        ("memory_max", "memory.max", plan.memory_max),
        ("memory_swap_max", "memory.swap.max", plan.memory_swap_max),
    ] {
        if let Some(bytes) = bytes.map(whole_pages) {
            add(key, "memory", file, bytes.to_string(), bytes as f64);
        }
    }
    if let Some(group) = plan.memory_oom_group {
        let number = u8::from(group);
        add("memory_oom_group", "memory", "memory.oom.group", number.to_string(), number.into());
    }
    if let Some(percent) = plan.cpu_max {
        let quota_us = (percent / 100.0 * CPU_PERIOD_US).round();
        let value = format!("{quota_us} {CPU_PERIOD_US}");
        add("cpu_max", "cpu", "cpu.max", value, quota_us / CPU_PERIOD_US);
    }
    if let Some(weight) = plan.cpu_weight {
        add("cpu_weight", "cpu", "cpu.weight", weight.to_string(), weight as f64);
    }
    if let Some(pids) = plan.pids_max {
        add("pids_max", "pids", "pids.max", pids.to_string(), pids as f64);
    }
    settings.extend(of_devices(plan));
    settings
}

fn of_devices(plan: &LimitsPlan) -> impl Iterator<Item = Setting> {
    let io = |key, file, part, number: u64| Setting {
        key,
        controller: "io",
        file,
        part,
        value: number.to_string(),
        number: number as f64,
    };
    let weight = plan.io_weight.map(|weight| io("io_weight", "io.weight", Part::Default, weight));
    let max = plan.io_max.iter().flat_map(move |entry| {
        entry.fields().into_iter().filter_map(move |(field, limit)| {
            let part = Part::Device { device: entry.device.clone(), field };
            Some(io("io_max", "io.max", part, limit?))
        })
    });
    weight.into_iter().chain(max)
}

/// `memory.high` while throttled.
pub fn throttle(bytes: u64) -> Setting {
    let bytes = whole_pages(bytes);
    Setting {
        key: "memory_high",
        controller: "memory",
        file: "memory.high",
        part: Part::Whole,
        value: bytes.to_string(),
        number: bytes as f64,
    }
}

/// `cgroup.freeze`: no process runs.
pub fn frozen() -> Setting {
    Setting {
        key: "freeze",
        controller: "",
        file: "cgroup.freeze",
        part: Part::Whole,
        value: "1".into(),
        number: 1.0,
    }
}

/// Memory limits are kept in whole pages; what is written must be what is read back.
fn whole_pages(bytes: u64) -> u64 {
    const USUAL: i64 = 4096;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(USUAL);
    let page = u64::try_from(page).unwrap_or(1).max(1);
    bytes / page * page
}

#[cfg(test)]
mod tests;
