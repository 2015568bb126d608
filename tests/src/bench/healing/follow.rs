//! When an agent works again: what its records say.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use testbed::agent::{AgentProcess, Record};

use super::PATIENCE;

/// Good calls in a row that are no chance.
const IN_A_ROW: usize = 3;
const LOOK: Duration = Duration::from_millis(50);

/// Nanoseconds of the Unix epoch.
pub(super) fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits until the calls go well again after `outage_ended_ns`; how long after it the first of them
/// had its answer.
pub(super) fn healed(agent: &AgentProcess, outage_ended_ns: u64) -> Option<Duration> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(took) = first_of_good(&agent.records(), outage_ended_ns) {
            return Some(took);
        }
        thread::sleep(LOOK);
    }
    None
}

fn first_of_good(records: &[Record], after_ns: u64) -> Option<Duration> {
    let end = |record: &Record| record.start_unix_ns + (record.total_us * 1e3) as u64;
    let late: Vec<&Record> = records.iter().filter(|record| end(record) >= after_ns).collect();
    let good = late.windows(IN_A_ROW).find(|row| row.iter().all(|record| record.is_ok()))?;
    Some(Duration::from_nanos(end(good.first()?) - after_ns))
}
