//! What a bulkhead uses and what the kernel has counted about its limits. Files that are not there
//! (no controller, no PSI) give `None`, never an error.

use crate::cgroup::Bulkhead;

/// One look at a bulkhead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Swap, bytes.
    pub swap_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processor time, microseconds.
    pub cpu_us: Option<u64>,
    /// Periods of `cpu.max` in which it was stopped.
    pub throttled_periods: Option<u64>,
    /// How long it was stopped, microseconds, summed over processors.
    pub throttled_us: Option<u64>,
    /// `memory.events`.
    pub memory: Option<MemoryEvents>,
    /// Forks that `pids.max` refused.
    pub pids_refused: Option<u64>,
    /// What it read from and wrote to block devices.
    pub io: Option<IoCounts>,
    /// Time lost to waiting for memory, processors, block devices; in this order.
    pub pressure: [Option<Pressure>; 3],
}

/// `memory.events`, children included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// Times that it was slowed down at `memory.high`.
    pub high: u64,
    /// Times that it stood at `memory.max`.
    pub max: u64,
    /// Times that reclaiming did not help.
    pub oom: u64,
    /// Processes killed for it.
    pub oom_kill: u64,
}

/// `io.stat`, summed over devices: what lies upon another device (LVM on a disk) counts for both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounts {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// A file such as `memory.pressure`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Some task waited.
    pub some: Stall,
    /// All tasks that were not idle waited.
    pub full: Stall,
}

/// One line of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stall {
    /// Share of the last 10 s, percent.
    pub avg10: f64,
    /// Since the cgroup was made, microseconds.
    pub total_us: u64,
}

/// Names of [`Usage::pressure`].
pub(super) const PRESSURES: [&str; 3] = ["memory", "cpu", "io"];

impl Usage {
    /// The pressures with their names.
    pub fn pressures(&self) -> impl Iterator<Item = (&'static str, Pressure)> {
        PRESSURES
            .into_iter()
            .zip(self.pressure)
            .filter_map(|(name, pressure)| Some((name, pressure?)))
    }
}

impl Bulkhead {
    /// What it uses now.
    pub fn usage(&self) -> Usage {
        let number = |file| self.value(file).ok()?.parse().ok();
        let cpu = self.value("cpu.stat").unwrap_or_default();
        let memory = self.value("memory.events").ok();
        let pids = self.value("pids.events").unwrap_or_default();
        Usage {
            memory_bytes: number("memory.current"),
            swap_bytes: number("memory.swap.current"),
            pids: number("pids.current"),
            cpu_us: field(&cpu, "usage_usec"),
            throttled_periods: field(&cpu, "nr_throttled"),
            throttled_us: field(&cpu, "throttled_usec"),
            memory: memory.map(|text| {
                let count = |name| field(&text, name).unwrap_or(0);
                MemoryEvents {
                    high: count("high"),
                    max: count("max"),
                    oom: count("oom"),
                    oom_kill: count("oom_kill"),
                }
            }),
            pids_refused: field(&pids, "max"),
            io: self.value("io.stat").ok().map(|text| io_counts(&text)),
            pressure: PRESSURES.map(|name| {
                self.value(&format!("{name}.pressure")).ok().and_then(|text| parse(&text))
            }),
        }
    }
}

/// The number behind a word at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .and_then(|number| number.trim().parse().ok())
}

/// Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn io_counts(text: &str) -> IoCounts {
    let sum = |name: &str| {
        let words = text.lines().flat_map(|line| line.split(' ').skip(1));
        let values = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        values.filter_map(|value| value.parse::<u64>().ok()).sum()
    };
    IoCounts {
        read_bytes: sum("rbytes"),
        written_bytes: sum("wbytes"),
        reads: sum("rios"),
        writes: sum("wios"),
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same with `full` (not everywhere).
fn parse(text: &str) -> Option<Pressure> {
    let line = |kind: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let value = |name: &str| {
            rest.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Stall {
            avg10: value("avg10")?.parse().ok()?,
            total_us: value("total")?.parse().ok()?,
        })
    };
    Some(Pressure { some: line("some")?, full: line("full").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_with_and_without_full() {
        let some = "some avg10=12.50 avg60=3.00 avg300=1.00 total=42\n";
        let read = parse(some).unwrap();
        assert_eq!(read.some, Stall { avg10: 12.5, total_us: 42 });
        assert_eq!(read.full, Stall::default());
        let both = parse(&format!("{some}full avg10=1.00 avg60=0.00 avg300=0.00 total=7")).unwrap();
        assert_eq!(both.full, Stall { avg10: 1.0, total_us: 7 });
        for odd in ["", "none", "some avg10=x total=1", "full avg10=1.00 total=1"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn devices_are_summed() {
        let text = "8:0 rbytes=4096 wbytes=10 rios=1 wios=2 dbytes=0 dios=0\n\
                    253:0 rbytes=4 wbytes=1 rios=3 wios=5 dbytes=9 dios=9\n7:0 \n";
        let wanted = IoCounts { read_bytes: 4100, written_bytes: 11, reads: 4, writes: 7 };
        assert_eq!(io_counts(text), wanted);
        assert_eq!(io_counts(""), IoCounts::default());
    }

    #[test]
    fn fields_are_whole_words() {
        let events = "low 0\nhigh 3\nmax 2\noom 1\noom_kill 9\n";
        assert_eq!(field(events, "oom"), Some(1));
        assert_eq!(field(events, "oom_kill"), Some(9));
        assert_eq!(field(events, "oom_group_kill"), None);
    }
}
