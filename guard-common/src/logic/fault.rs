//! Whether a fault rule acts now, and on this packet or connect.

use crate::abi::fault::{FaultRule, RATE_BURST_NS, RATE_QUEUE_NS, Subject};
use crate::logic::random;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// Whether a rule may act at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Not yet begun, in the pause of a pulse, or an empty slot: as if the rule did not exist.
    NotYet,
    /// It acts.
    Open,
    /// Its deadline or the daemon's lease is over: the traffic passes.
    Over,
}

/// Checks deadline and lease (boottime ns). The kernel does this at each packet, so that no fault
/// outlives its deadline or the daemon's last sign of life by more than the lease.
#[inline(always)]
pub const fn window(rule: &FaultRule, now_ns: u64, lease_until_ns: u64) -> Window {
    if rule.effect == 0 || now_ns < rule.not_before_ns {
        Window::NotYet
    } else if now_ns >= rule.expires_at_ns || now_ns >= lease_until_ns {
        Window::Over
    } else if rule.pulse_period_ns != 0
        && (now_ns - rule.not_before_ns) % rule.pulse_period_ns >= rule.pulse_on_ns
    {
        Window::NotYet
    } else {
        Window::Open
    }
}

/// Whether a rule is about a packet or connect at all, shares aside.
#[inline(always)]
pub const fn is_about(rule: &FaultRule, subject: &Subject) -> bool {
    subject.packet & rule.packets == rule.packets
        && (rule.port == 0 || rule.port == subject.port)
        && (rule.new_only == 0 || subject.opened_ns >= rule.not_before_ns)
}

/// [`Subject::destination`] of an address (as two halves) and port: no order, no secret.
#[inline(always)]
pub const fn destination(high: u64, low: u64, port: u32) -> u64 {
    random::draw(random::draw(high, low), port as u64)
}

/// Whether a destination is among a rule's share: the same for each of its packets, whoever looks.
#[inline(always)]
pub const fn is_chosen_destination(rule: &FaultRule, destination: u64) -> bool {
    random::hits(rule.seed, destination, rule.share)
}

/// What a thin link does to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shaped {
    /// Held for so long, ns; the link is free again at (boottime ns).
    Held(u64, u64),
    /// Its queue is full.
    Dropped,
}

/// A packet of `bytes` that leaves over a link which is busy until `free_ns`.
#[inline(always)]
pub const fn shape(free_ns: u64, bytes: u32, rate_bytes_per_second: u64, now_ns: u64) -> Shaped {
    let begins_ns = if free_ns > now_ns { free_ns } else { now_ns };
    let waits_ns = begins_ns - now_ns;
    if waits_ns > RATE_QUEUE_NS {
        return Shaped::Dropped;
    }
    let takes_ns = takes_ns(bytes, rate_bytes_per_second);
    // It has arrived when its last byte has.
    Shaped::Held(waits_ns + takes_ns, begins_ns + takes_ns)
}

/// A packet of `bytes` that came over such a link: when the link is free again; 0 = it is dropped.
/// It has come already and cannot be held: a sender that is too fast loses packets and slows down.
#[inline(always)]
pub const fn police(free_ns: u64, bytes: u32, rate_bytes_per_second: u64, now_ns: u64) -> u64 {
    let begins_ns = if free_ns > now_ns { free_ns } else { now_ns };
    if begins_ns - now_ns > RATE_BURST_NS {
        0
    } else {
        begins_ns + takes_ns(bytes, rate_bytes_per_second)
    }
}

#[inline(always)]
const fn takes_ns(bytes: u32, rate_bytes_per_second: u64) -> u64 {
    let rate = if rate_bytes_per_second == 0 { 1 } else { rate_bytes_per_second };
    bytes as u64 * NS_PER_SECOND / rate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::fault::{EFFECT_DELAY, PACKET_CONNECT, PACKET_PAYLOAD, PACKET_TCP};

    fn rule() -> FaultRule {
        FaultRule {
            effect: EFFECT_DELAY,
            not_before_ns: 100,
            expires_at_ns: 200,
            ..FaultRule::default()
        }
    }

    #[test]
    fn acts_only_between_start_and_the_nearer_end() {
        let rule = rule();
        assert_eq!(window(&rule, 99, 1000), Window::NotYet);
        assert_eq!(window(&rule, 100, 1000), Window::Open);
        assert_eq!(window(&rule, 199, 1000), Window::Open);
        assert_eq!(window(&rule, 200, 1000), Window::Over);
        assert_eq!(window(&rule, 150, 151), Window::Open);
        assert_eq!(window(&rule, 151, 151), Window::Over);
        assert_eq!(window(&rule, 150, 0), Window::Over, "no lease, no fault");
        assert_eq!(window(&FaultRule::default(), 150, 1000), Window::NotYet);
    }

    #[test]
    fn a_pulse_comes_and_goes_from_its_start_on() {
        let rule = FaultRule { pulse_on_ns: 3, pulse_period_ns: 10, ..rule() };
        let open: std::vec::Vec<u64> =
            (100..125).filter(|now| window(&rule, *now, 1000) == Window::Open).collect();
        assert_eq!(open, [100, 101, 102, 110, 111, 112, 120, 121, 122]);
        assert_eq!(window(&rule, 105, 1000), Window::NotYet);
        assert_eq!(window(&rule, 205, 1000), Window::Over, "its deadline holds in pauses, too");
    }

    #[test]
    fn a_rule_is_about_what_it_names() {
        let subject =
            Subject { packet: PACKET_PAYLOAD | PACKET_TCP, port: 53, ..Subject::default() };
        assert!(is_about(&rule(), &subject));
        assert!(is_about(&FaultRule { packets: PACKET_PAYLOAD, ..rule() }, &subject));
        assert!(!is_about(&FaultRule { packets: PACKET_CONNECT, ..rule() }, &subject));
        assert!(is_about(&FaultRule { port: 53, ..rule() }, &subject));
        assert!(!is_about(&FaultRule { port: 443, ..rule() }, &subject));
        let new_only = FaultRule { new_only: 1, ..rule() };
        assert!(!is_about(&new_only, &subject), "nobody knows when it was opened: long ago");
        assert!(!is_about(&new_only, &Subject { opened_ns: 99, ..subject }));
        assert!(is_about(&new_only, &Subject { opened_ns: 100, ..subject }));
        assert!(is_about(&new_only, &Subject { opened_ns: u64::MAX, ..subject }), "datagrams");
    }

    #[test]
    fn a_share_of_the_destinations_is_that_share_of_them() {
        let rule = FaultRule { seed: 7, share: (1 << 32) * 3 / 10, ..rule() };
        let chosen = (0..10_000_u64)
            .filter(|host| is_chosen_destination(&rule, destination(0, *host, 443)))
            .count();
        assert!((2_770..=3_230).contains(&chosen), "{chosen}: five standard deviations are 229");
    }

    #[test]
    fn a_thin_link_carries_its_rate() {
        // 1000 bytes/s; the packets come all at once.
        let (mut free, mut sent) = (0, 0);
        while let Shaped::Held(wait, next) = shape(free, 100, 1_000, 5) {
            sent += 1;
            assert_eq!(wait, sent * NS_PER_SECOND / 10);
            free = next;
        }
        assert_eq!(sent, 11, "a second of queue");
        let (mut free, mut bytes) = (0, 0);
        for ms in 0..10_000 {
            let next = police(free, 100, 1_000, ms * 1_000_000);
            if next != 0 {
                (free, bytes) = (next, bytes + 100);
            }
        }
        assert!((10_000..=10_300).contains(&bytes), "{bytes} in 10 s");
    }
}
