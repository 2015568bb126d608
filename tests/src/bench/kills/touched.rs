//! When faults touched traffic last, from what the agent tried and what arrived. In doubt it says
//! "touched": a host that is busy can make a run fail, never let one pass.

use std::collections::HashMap;
use std::time::Duration;

use super::caller::Tried;

/// A call or a datagram is touched if it took longer. Half the latency of the drill.
const SLOW_NS: u64 = 150_000_000;

/// What is known of one run's traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Tries that were touched and began before the kill.
    pub(super) before: usize,
    /// From the kill to the last moment at which something was touched: the call that was refused
    /// or slow began, the datagram was lost, or was held until then. Zero: nothing after the kill.
    pub(super) last: Duration,
    /// What that was.
    pub(super) last_was: Option<Tried>,
    /// Good calls and datagrams that began later than the limit after the kill.
    pub(super) good_calls: usize,
    pub(super) good_datagrams: usize,
}

impl Traffic {
    /// `arrivals`: numbers of datagrams and when they came.
    pub(super) fn of(
        tried: &[Tried],
        arrivals: &HashMap<u64, u64>,
        kill_ns: u64,
        limit: Duration,
    ) -> Self {
        let mut all = Self::default();
        let limit_ns = kill_ns + limit.as_nanos() as u64;
        for one in tried {
            let (began_ns, touched_ns) = match *one {
                Tried::Call { start_ns, end_ns, good } => {
                    let slow = end_ns.saturating_sub(start_ns) > SLOW_NS;
                    (start_ns, (slow || !good).then_some(start_ns))
                }
                Tried::Datagram { number, sent_ns, refused } => {
                    let touched = match arrivals.get(&number) {
                        _ if refused => Some(sent_ns),
                        None => Some(sent_ns),
                        Some(at) if at.saturating_sub(sent_ns) > SLOW_NS => Some(*at),
                        Some(_) => None,
                    };
                    (sent_ns, touched)
                }
            };
            match (touched_ns, one) {
                (Some(at), _) => {
                    all.before += usize::from(began_ns < kill_ns);
                    let after = Duration::from_nanos(at.saturating_sub(kill_ns));
                    if after > all.last {
                        (all.last, all.last_was) = (after, Some(*one));
                    }
                }
                (None, Tried::Call { .. }) => all.good_calls += usize::from(began_ns > limit_ns),
                (None, _) => all.good_datagrams += usize::from(began_ns > limit_ns),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_refused_or_held_is_touched() {
        const MS: u64 = 1_000_000;
        let datagram =
            |number, sent_ms, refused| Tried::Datagram { number, sent_ns: sent_ms * MS, refused };
        let call = |start_ms, end_ms, good| Tried::Call {
            start_ns: start_ms * MS,
            end_ns: end_ms * MS,
            good,
        };
        let of = |tried: &[Tried]| {
            let arrivals = HashMap::from([(1, 1001 * MS), (2, 1300 * MS), (3, 4001 * MS)]);
            Traffic::of(tried, &arrivals, 1000 * MS, Duration::from_secs(2))
        };
        let ms = Duration::from_millis;
        assert_eq!(of(&[datagram(1, 1000, false)]), Traffic::default());
        assert_eq!(of(&[datagram(2, 1000, false)]).last, ms(300), "held until then");
        assert_eq!(of(&[datagram(9, 1200, false)]).last, ms(200), "lost");
        assert_eq!(of(&[datagram(9, 900, true)]).before, 1, "refused before the kill");
        assert_eq!(of(&[call(1050, 1300, true)]).last, ms(50), "slow");
        assert_eq!(of(&[call(1050, 1051, false)]).last, ms(50), "refused");
        let late = of(&[datagram(3, 4000, false), call(4000, 4001, true)]);
        assert_eq!((late.good_datagrams, late.good_calls, late.last), (1, 1, Duration::ZERO));
    }
}
