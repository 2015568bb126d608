//! `struct tcp_info`, read by offset: the kernel only ever appends to it, so an older kernel's is
//! a prefix of a newer one's.

use crate::net::netlink::{u32_at, u64_at};

/// What guard reads of a connection's `tcp_info`. Fields that the running kernel is too old to
/// have are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// Retransmission timeouts of the segment at the head, in a row.
    pub retransmits: u8,
    /// Zero-window or keepalive probes that are not answered.
    pub probes: u8,
    /// How often the timeout was doubled.
    pub backoff: u8,
    /// Retransmission timeout, µs.
    pub rto_us: u32,
    /// Segments sent and not acknowledged. For a listener: connections not accepted.
    pub unacked: u32,
    /// Segments taken for lost.
    pub lost: u32,
    /// Since data was last sent, ms.
    pub last_data_sent_ms: u32,
    /// Since data last came, ms.
    pub last_data_received_ms: u32,
    /// Since an acknowledgement last came, ms.
    pub last_ack_received_ms: u32,
    /// Smoothed round-trip time, µs; 0 = not measured yet.
    pub rtt_us: u32,
    /// Its mean deviation, µs.
    pub rtt_deviation_us: u32,
    /// Segments retransmitted since the beginning.
    pub total_retransmits: u32,
    /// Payload bytes that the peer acknowledged (a SYN counts as one).
    pub bytes_acked: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// Bytes that the process has sent and TCP has not yet.
    pub notsent_bytes: u32,
    /// Smallest round-trip time seen, µs; `u32::MAX` = none.
    pub min_rtt_us: u32,
    /// Segments with data received.
    pub data_segments_in: u32,
    /// Segments with data sent.
    pub data_segments_out: u32,
    /// Payload bytes sent, retransmissions included.
    pub bytes_sent: u64,
    /// Payload bytes retransmitted.
    pub bytes_retransmitted: u64,
}

impl TcpInfo {
    /// Reads it; `None` if not even the oldest layout (104 bytes, Linux 2.6) is there.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < 104 {
            return None;
        }
        let word = |offset| u32_at(bytes, offset).unwrap_or(0);
        let long = |offset| u64_at(bytes, offset).unwrap_or(0);
        Some(Self {
            retransmits: *bytes.get(2)?,
            probes: *bytes.get(3)?,
            backoff: *bytes.get(4)?,
            rto_us: word(8),
            unacked: word(24),
            lost: word(32),
            last_data_sent_ms: word(44),
            last_data_received_ms: word(52),
            last_ack_received_ms: word(56),
            rtt_us: word(68),
            rtt_deviation_us: word(72),
            total_retransmits: word(100),
            bytes_acked: long(120),
            bytes_received: long(128),
            notsent_bytes: word(144),
            min_rtt_us: word(148),
            data_segments_in: word(152),
            data_segments_out: word(156),
            bytes_sent: long(200),
            bytes_retransmitted: long(208),
        })
    }
}
