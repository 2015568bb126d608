//! What an HTTP/1 answer in clear text says of its service: its status.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn any_bytes_are_read(head: [u8; HEAD_BYTES]) {
            prop_assert!(status(head) < 1_000);
        }
    }
}
