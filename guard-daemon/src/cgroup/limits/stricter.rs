//! Whether what a cgroup's maker has set is as strict as a limit, so that there is nothing to add.

use super::{CPU_PERIOD_US, Setting};

impl Setting {
    /// Whether a file that says `now` limits as much as this value would, or more. A share (a weight,
    /// `memory.oom.group`) that somebody has set counts as theirs, whatever it is.
    pub fn holds_already(&self, now: &str) -> bool {
        match self.file {
            "cpu.weight" | "io.weight" => now != "100" || self.value == now,
            "memory.oom.group" => now != "0" || self.value == now,
            "cpu.max" => share(now).is_some_and(|share| share <= self.number + 1.0 / CPU_PERIOD_US),
            _ => now.parse::<f64>().is_ok_and(|limit| limit <= self.number),
        }
    }
}

/// `QUOTA PERIOD` as processors; `None` for no limit.
fn share(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use crate::cgroup::limits::settings;
    use crate::plan::LimitsPlan;

    #[test]
    fn only_what_is_looser_is_changed() {
        let plan = LimitsPlan {
            memory_max: Some(1 << 20),
            memory_oom_group: Some(false),
            cpu_max: Some(50.0),
            cpu_weight: Some(50),
            pids_max: Some(10),
            ..LimitsPlan::default()
        };
        for (file, now, holds) in [
            ("memory.max", "max", false),
            ("memory.max", "1048577", false),
            ("memory.max", "1048576", true),
            ("memory.max", "4096", true),
            ("memory.oom.group", "1", true),
            ("cpu.max", "max 100000", false),
            ("cpu.max", "50000 100000", true),
            ("cpu.max", "60000 100000", false),
            ("cpu.max", "100000 1000000", true),
            ("cpu.weight", "100", false),
            ("cpu.weight", "900", true),
            ("pids.max", "9", true),
            ("pids.max", "11", false),
        ] {
            let setting = settings(&plan).into_iter().find(|s| s.file == file).unwrap();
            assert_eq!(setting.holds_already(now), holds, "{file} {now}");
        }
    }
}
