//! Proof of death in progress: what was sent, sent again, and is acknowledged by nobody.
//!
//! One retransmission proves nothing: a packet was lost, or the answer to it. That the oldest byte
//! under way was sent again a while ago, and still nobody has it, says that the peer or the way to it
//! is gone. It never says so of a peer that acknowledges anything new in between.

/// How long ago the first retransmission must be, ms: five times the shortest timeout of TCP, so that
/// a third one has gone out without an answer.
pub const PROOF_MS: u32 = 1_000;

/// The oldest byte that was sent again (its sequence number, upper half) and when it first was (ms,
/// modulo 2^32, lowest bit set; lower half). 0 = nothing was.
pub type Mark = u64;

const fn mark(sequence: u32, now_ms: u32) -> Mark {
    (sequence as u64) << 32 | (now_ms | 1) as u64
}

/// Whether the byte with this number is not acknowledged: `oldest` is the first that is not.
#[inline(always)]
const fn is_open(sequence: u32, oldest: u32) -> bool {
    // Numbers wrap: nearer ahead than behind.
    sequence.wrapping_sub(oldest) as i32 >= 0
}

/// The mark after a retransmission of the bytes from `sequence` on; `oldest` is the first byte that
/// is not acknowledged.
#[inline(always)]
pub const fn retransmitted(before: Mark, sequence: u32, oldest: u32, now_ms: u32) -> Mark {
    if before != 0 && is_open((before >> 32) as u32, oldest) {
        return before;
    }
    mark(sequence, now_ms)
}

/// Whether the peer is dead as far as can be known.
#[inline(always)]
pub const fn is_proof(mark: Mark, oldest: u32, now_ms: u32) -> bool {
    mark != 0
        && is_open((mark >> 32) as u32, oldest)
        && (now_ms | 1).wrapping_sub(mark as u32) >= PROOF_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retransmission_counts_until_it_is_acknowledged() {
        let first = retransmitted(0, 1000, 1000, 5_000);
        assert!(!is_proof(first, 1000, 5_999), "a packet is lost now and then");
        let again = retransmitted(first, 1000, 1000, 5_600);
        assert_eq!(again, first, "time goes from the first one on");
        assert!(is_proof(again, 1000, 6_100));
        // Somebody has it: it is alive, also when a later byte is lost.
        assert!(!is_proof(again, 1001, 60_000));
        let later = retransmitted(again, 2000, 2000, 60_000);
        assert!(!is_proof(later, 2000, 60_500) && is_proof(later, 2000, 61_100));
    }

    #[test]
    fn what_comes_behind_the_oldest_byte_is_open_too() {
        let behind = retransmitted(0, 3000, 1000, 0);
        assert!(is_proof(behind, 1000, 2_000));
        assert!(is_proof(behind, 3000, 2_000));
        assert!(!is_proof(behind, 3001, 2_000));
    }

    #[test]
    fn nothing_proves_nothing_and_numbers_wrap() {
        assert!(!is_proof(0, 0, u32::MAX));
        let late = retransmitted(0, u32::MAX - 1, u32::MAX - 1, u32::MAX - 200);
        assert!(is_proof(late, u32::MAX - 1, 900));
        assert!(!is_proof(late, 5, 900), "the numbers have gone round");
        assert_ne!(retransmitted(0, 0, 0, 0), 0);
    }
}
