//! When an exchange starts and ends, from the packets of one connection.
//!
//! The whole state is one word, [`SocketState::exchange_start_ns`]: 0 = nothing awaited, else the
//! time at which the first payload left, with [`EXCHANGE_HANDSHAKE`] when what is awaited is a
//! TLS handshake and not a call. One word, so that two CPUs agree by one compare-and-swap on who
//! counts its end.
//!
//! [`SocketState::exchange_start_ns`]: crate::abi::socket::SocketState::exchange_start_ns

use super::tls::{self, FirstBytes};
use crate::abi::socket::EXCHANGE_HANDSHAKE;

/// Whether payload that leaves now can change `word`: only then are its first bytes worth
/// reading.
#[inline(always)]
pub const fn may_start(word: u64) -> bool {
    word == 0 || word & EXCHANGE_HANDSHAKE != 0
}

/// The word after payload left at `now_ns`. A handshake that is under way turns into a call when
/// application data follows it (TLS 1.3 sends the request right behind its Finished).
#[inline(always)]
pub const fn on_sent(word: u64, now_ns: u64, first: FirstBytes) -> u64 {
    if word == 0 {
        if tls::is_handshake(first) { now_ns | EXCHANGE_HANDSHAKE } else { now_ns }
    } else if word & EXCHANGE_HANDSHAKE != 0 && tls::is_data(first) {
        now_ns
    } else {
        word
    }
}

/// Whether a segment that ends before the byte `end` brings nothing new to a socket that waits for
/// the byte `next`; both are TCP's numbers, which wrap.
#[inline(always)]
pub const fn is_behind(end: u32, next: u32) -> bool {
    end.wrapping_sub(next) as i32 <= 0
}

/// What the first payload that arrives after [`on_sent`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing was awaited.
    Nothing,
    /// A TLS handshake step.
    Handshake,
    /// A call; the time to the first byte in ns.
    Call(u64),
}

/// What payload that arrives at `now_ns` ends. The caller swaps the word to 0.
#[inline(always)]
pub const fn on_received(word: u64, now_ns: u64) -> Ended {
    if word == 0 {
        Ended::Nothing
    } else if word & EXCHANGE_HANDSHAKE != 0 {
        Ended::Handshake
    } else {
        Ended::Call(now_ns.saturating_sub(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HTTP: FirstBytes = *b"GE";

    #[test]
    fn plain_request_and_answer() {
        let word = on_sent(0, 100, HTTP);
        assert_eq!(word, 100);
        assert!(!may_start(word));
        assert_eq!(on_sent(word, 150, HTTP), 100, "more of the same request does not restart it");
        assert_eq!(on_received(word, 350), Ended::Call(250));
        assert_eq!(on_received(0, 400), Ended::Nothing, "more of the same answer");
    }

    #[test]
    fn what_was_received_before_is_behind_also_when_numbers_wrap() {
        assert!(is_behind(1000, 1000), "all of it");
        assert!(!is_behind(1001, 1000), "its last byte is new");
        assert!(is_behind(u32::MAX, 5));
        assert!(!is_behind(5, u32::MAX));
    }

    #[test]
    fn handshake_is_no_call_but_data_behind_it_is() {
        let hello = on_sent(0, 10, [0x16, 3]);
        assert_eq!(on_received(hello, 20), Ended::Handshake);
        let finished = on_sent(0, 30, [0x14, 3]);
        let request = on_sent(finished, 35, [0x17, 3]);
        assert_eq!(on_received(request, 75), Ended::Call(40));
    }

    #[test]
    fn a_byte_that_looks_like_tls_without_its_version_is_a_call() {
        assert_eq!(on_sent(0, 10, [0x16, 9]), 10);
    }

    proptest! {
        #[test]
        fn each_start_is_ended_once(steps in prop::collection::vec((any::<bool>(), any::<[u8; 2]>()), 0..50)) {
            let (mut word, mut started, mut ended) = (0_u64, 0_u32, 0_u32);
            for (now, (sent, first)) in steps.into_iter().enumerate() {
                let now = now as u64 + 1;
                if sent {
                    if word == 0 {
                        started += 1;
                    }
                    word = on_sent(word, now, first);
                    prop_assert_ne!(word, 0);
                } else {
                    ended += u32::from(on_received(word, now) != Ended::Nothing);
                    word = 0;
                }
            }
            prop_assert_eq!(started, ended + u32::from(word != 0));
        }
    }
}
