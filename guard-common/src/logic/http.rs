//! What an HTTP/1 answer in clear text says of its service: its status, and for how long it wants to
//! be left alone.
//!
//! Pure; whatever the bytes are, it gives an answer. It never looks behind the header.

use crate::abi::outcome::Outcome;

/// Bytes that hold the status: `HTTP/1.1 200`.
pub const HEAD_BYTES: usize = 12;
/// The first bytes of an answer that is long enough.
pub type Head = [u8; HEAD_BYTES];

/// Status of the answer that begins with these bytes; 0 if they are not those of HTTP/1.
#[inline(always)]
pub const fn status(head: Head) -> u32 {
    let [h, t1, t2, p, slash, one, dot, minor, space, hundreds, tens, units] = head;
    let version = u64::from_be_bytes([h, t1, t2, p, slash, one, dot, space]);
    if version != u64::from_be_bytes(*b"HTTP/1. ") || !minor.is_ascii_digit() {
        return 0;
    }
    if !(hundreds.is_ascii_digit() && tens.is_ascii_digit() && units.is_ascii_digit()) {
        return 0;
    }
    (hundreds - b'0') as u32 * 100 + (tens - b'0') as u32 * 10 + (units - b'0') as u32
}

/// How a kept answer of guardd's gateway says to the hooks what it is, in the reason phrase, which
/// clients do not look at: `HTTP/1.1 200 Stale, kept by guard`.
pub const STALE_PHRASE: &str = "Stale, kept by guard";
/// Bytes behind the status that tell.
pub const PHRASE_BYTES: usize = 8;

/// Whether what follows the status is that of a kept answer, given because the service failed. Of what
/// does not come from the gateway it says nothing.
#[inline(always)]
pub const fn is_stale(behind_status: [u8; PHRASE_BYTES]) -> bool {
    u64::from_be_bytes(behind_status) == u64::from_be_bytes(*b" Stale, ")
}

/// Whether another answer follows this one (100 Continue, 103 Early Hints; after 101 the
/// connection speaks something else, so that is the answer).
#[inline(always)]
pub const fn is_interim(status: u32) -> bool {
    status >= 100 && status < 200 && status != 101
}

/// What a status is ("Words" in DESIGN.md); 0 is an answer that is not HTTP.
#[inline(always)]
pub const fn outcome(status: u32) -> Outcome {
    match status {
        429 => Outcome::Throttled,
        400..=499 => Outcome::ClientError,
        500..=599 => Outcome::ServerError,
        _ => Outcome::Success,
    }
}

/// Reads `Retry-After` (RFC 9110, 10.2.3) out of an answer, byte by byte. Its other form, a date, says
/// nothing to whoever has no calendar.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RetryAfter {
    /// The last sixteen bytes in lower case, the newest lowest.
    older: u64,
    newer: u64,
    seconds: u32,
    digits: u32,
    /// 0 = not found yet, 1 = its value is being read, 2 = it was read to its end.
    found: u32,
    pad: u32,
}

/// More digits than this mean more than a week, whatever they are.
const MOST_DIGITS: u32 = 6;
const MOST_SECONDS: u32 = 999_999;

impl RetryAfter {
    /// The next byte of the answer; whether no further one is needed.
    #[inline(always)]
    pub const fn push(&mut self, byte: u8) -> bool {
        if self.found != 0 {
            return self.value(byte);
        }
        self.older = (self.older << 8) | (self.newer >> 56);
        self.newer = (self.newer << 8) | byte.to_ascii_lowercase() as u64;
        let name = self.newer == u64::from_be_bytes(*b"y-after:")
            && self.older & 0xff_ffff_ffff == u64::from_be_bytes(*b"\0\0\0\nretr");
        if name {
            self.found = 1;
        }
        // An empty line is the end of the header.
        !name && self.newer as u32 == u32::from_be_bytes(*b"\r\n\r\n")
    }

    #[inline(always)]
    const fn value(&mut self, byte: u8) -> bool {
        match byte {
            b' ' | b'\t' if self.digits == 0 => return false,
            b'0'..=b'9' if self.digits < MOST_DIGITS => {
                self.seconds = self.seconds * 10 + (byte - b'0') as u32;
                self.digits += 1;
                return false;
            }
            b'0'..=b'9' => {
                self.seconds = MOST_SECONDS;
                return false;
            }
            b'\r' | b'\n' | b' ' | b'\t' if self.digits > 0 => self.found = 2,
            _ => {}
        }
        true
    }

    /// What was found, in seconds; 0 = nothing, or nothing whole.
    #[inline(always)]
    #[must_use]
    pub const fn seconds(&self) -> u32 {
        if self.found == 2 { self.seconds } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::vec::Vec;

    #[test]
    fn statuses() {
        assert_eq!(status(*b"HTTP/1.1 200"), 200);
        assert_eq!(status(*b"HTTP/1.0 503"), 503);
        assert_eq!(status(*b"HTTP/2 200 O"), 0);
        assert_eq!(status(*b"HTTP/1.1 2x0"), 0);
        assert_eq!(status(*b"HTTP/1.1\t200"), 0);
        assert_eq!(status(*b"SSH-2.0-Open"), 0);
    }

    #[test]
    fn what_a_gateway_has_kept() {
        let line = format!("HTTP/1.1 200 {STALE_PHRASE}\r\n");
        let behind = line.as_bytes()[HEAD_BYTES..].first_chunk::<PHRASE_BYTES>();
        assert!(is_stale(*behind.unwrap()));
        assert!(!is_stale(*b" OK\r\nCon"));
        assert!(!is_stale(*b" Stale\r\n"));
    }

    #[test]
    fn what_they_mean() {
        let meant = |status| (outcome(status), is_interim(status));
        assert_eq!(meant(0), (Outcome::Success, false), "not HTTP");
        assert_eq!(meant(100), (Outcome::Success, true));
        assert_eq!(meant(101), (Outcome::Success, false));
        assert_eq!(meant(302), (Outcome::Success, false));
        assert_eq!(meant(404), (Outcome::ClientError, false));
        assert_eq!(meant(429), (Outcome::Throttled, false));
        assert_eq!(meant(500), (Outcome::ServerError, false));
        assert_eq!(meant(503), (Outcome::ServerError, false));
        assert_eq!(meant(529), (Outcome::ServerError, false), "overloaded");
        assert_eq!(meant(600), (Outcome::Success, false), "no such class");
    }

    fn retry_after(answer: &[u8]) -> u32 {
        let mut search = RetryAfter::default();
        let _read = answer.iter().any(|byte| search.push(*byte));
        search.seconds()
    }

    #[test]
    fn retry_after_in_seconds() {
        let of = |lines: &str| {
            retry_after(format!("HTTP/1.1 503 Service Unavailable\r\n{lines}\r\nbody").as_bytes())
        };
        assert_eq!(of("Retry-After: 120\r\n"), 120);
        assert_eq!(of("Content-Length: 4\r\nretry-after:7\r\n"), 7);
        assert_eq!(of("RETRY-AFTER: \t 3 \r\n"), 3);
        assert_eq!(of("Retry-After: 12345678901\r\n"), MOST_SECONDS);
        assert_eq!(of("Retry-After: 0\r\n"), 0);
        assert_eq!(of("Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n"), 0, "a date");
        assert_eq!(of("Retry-After: 1.5\r\n"), 0);
        assert_eq!(of("Retry-After: -1\r\n"), 0);
        assert_eq!(of("Retry-After:\r\n"), 0);
        assert_eq!(of("X-Retry-After: 9\r\n"), 0, "another header");
        assert_eq!(of("X: retry-after: 9\r\n"), 0, "a value");
        assert_eq!(of("\r\nRetry-After: 9\r\n"), 0, "in the body");
        assert_eq!(of(""), 0);
        assert_eq!(retry_after(b"HTTP/1.1 503 x\r\nRetry-After: 12"), 0, "cut off: 12 or 120?");
    }

    proptest! {
        #[test]
        fn any_answer_is_read(answer: Vec<u8>, before in "[a-z-]{0,20}", seconds in 1_u32..100_000) {
            prop_assert!(retry_after(&answer) <= MOST_SECONDS);
            let line = format!("HTTP/1.1 429 x\r\n{before}: y\r\nRetry-After: {seconds}\r\n\r\n");
            let wanted = if before == "retry-after" { 0 } else { seconds };
            prop_assert_eq!(retry_after(line.as_bytes()), wanted);
        }

        #[test]
        fn any_bytes_are_read(head: [u8; HEAD_BYTES]) {
            prop_assert!(status(head) < 1_000);
        }
    }
}
