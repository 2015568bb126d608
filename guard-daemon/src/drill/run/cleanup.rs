//! Whether the host is as it was: what guardd reads back from the kernel, compared with before.

use std::time::{Duration, Instant};

use super::super::record::Cleanup;
use super::daemon::Daemon;

/// How long the faults' leftovers may take to go.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// Waits until nothing is different, or patience is over.
pub(super) async fn watch(daemon: &impl Daemon, before: &[String], over: Instant) -> Cleanup {
    loop {
        let Ok(now) = daemon.footprint().await else { return Cleanup::default() };
        let mut left_over = differences(before, &now.lines);
        left_over.extend(now.problems);
        let seconds = over.elapsed().as_secs_f64();
        if left_over.is_empty() || over.elapsed() > PATIENCE {
            let complete = Some(left_over.is_empty());
            return Cleanup { complete, left_over, seconds };
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What is there and was not, and what was there and is not. Devices that came or went meanwhile
/// (a container started) are nobody's leftovers: guard makes none.
fn differences(before: &[String], now: &[String]) -> Vec<String> {
    let of_both = |line: &String, others: &[String]| match device(line) {
        Some(name) => others.iter().any(|other| device(other) == Some(name)),
        None => true,
    };
    let new = now.iter().filter(|line| !before.contains(line) && of_both(line, before)).cloned();
    let gone = before.iter().filter(|line| !now.contains(line) && of_both(line, now));
    new.chain(gone.map(|line| format!("gone: {line}"))).collect()
}

/// `eth0` of `qdisc eth0: mq`.
fn device(line: &str) -> Option<&str> {
    line.strip_prefix("qdisc ")?.rsplit_once(": ").map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::differences;

    #[test]
    fn both_ways() {
        let lines = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let before = lines("qdisc eth0: mq,qdisc lo: noqueue");
        assert_eq!(differences(&before, &before), [""; 0]);
        let now = lines("qdisc eth0: fq,qdisc lo: noqueue,rule 0: fault 3");
        let expected = ["qdisc eth0: fq", "rule 0: fault 3", "gone: qdisc eth0: mq"];
        assert_eq!(differences(&before, &now), expected);
        let now = lines("qdisc lo: noqueue,qdisc veth7: noqueue");
        assert_eq!(differences(&before, &now), [""; 0], "devices come and go");
    }
}
