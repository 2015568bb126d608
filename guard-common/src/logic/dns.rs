//! What a DNS answer over UDP says (RFC 1035, 4.1.1), from the first bytes of its header. The name
//! that was asked for is never read.

/// The port of name servers.
pub const PORT: u32 = 53;
/// Bytes that are looked at: identifier, flags, response code.
pub const HEAD_BYTES: usize = 4;
/// A whole header.
const HEADER_BYTES: u32 = 12;
/// Response codes of an answer: no error, and that there is no such name. The second is an answer
/// as well: resolvers try names with each suffix of their search list.
const NO_ERROR: u8 = 0;
const NO_SUCH_NAME: u8 = 3;

/// Whether a datagram of this many payload bytes is an answer in which the server says that it could
/// not answer (SERVFAIL, REFUSED …).
#[inline(always)]
pub const fn is_failure(head: [u8; HEAD_BYTES], payload_bytes: u32) -> bool {
    let is_answer = head[2] & 0x80 != 0;
    let code = head[3] & 0xf;
    payload_bytes >= HEADER_BYTES && is_answer && code != NO_ERROR && code != NO_SUCH_NAME
}

#[cfg(test)]
mod tests {
    use super::is_failure;

    #[test]
    fn answers() {
        assert!(is_failure([1, 2, 0x81, 0x82], 40), "SERVFAIL");
        assert!(is_failure([1, 2, 0x81, 0x85], 12), "REFUSED");
        assert!(!is_failure([1, 2, 0x81, 0x80], 40), "an address");
        assert!(!is_failure([1, 2, 0x81, 0x83], 40), "NXDOMAIN");
        assert!(!is_failure([1, 2, 0x01, 0x02], 40), "a question");
        assert!(!is_failure([1, 2, 0x81, 0x82], 11), "cut off");
    }
}
