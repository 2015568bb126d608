//! What a segment of a TLS connection is, from its length and its first bytes, which are a record's
//! header. Nothing is decrypted: what is sealed is told by its length.
//!
//! A segment is looked at by itself. One that begins in the middle of a record can look like
//! anything; that costs a count, never a packet.

/// The first two payload bytes of a segment.
pub type FirstBytes = [u8; 2];
/// Bytes that hold an alert in clear text whole: type, version, length, level, description.
pub const ALERT_BYTES: usize = 7;

/// Record type of a change of cipher spec.
const CHANGE_CIPHER_SPEC: u8 = 0x14;
/// Record type of an alert (up to TLS 1.2; later ones look like application data).
const ALERT: u8 = 0x15;
/// Record type of a handshake message.
const HANDSHAKE: u8 = 0x16;
/// Record type of application data.
const APPLICATION_DATA: u8 = 0x17;
/// Major version in every record header.
const MAJOR: u8 = 3;
/// Level of an alert that ends the connection.
const FATAL: u8 = 2;

/// A change of cipher spec as a record: header and one byte.
const CHANGE_CIPHER_SPEC_BYTES: u32 = 5 + 1;
/// An alert of TLS 1.3 as a record: header, level, description, inner type, tag. All of its cipher
/// suites have tags of 16 bytes.
const SEALED_ALERT_BYTES: u32 = 5 + 2 + 1 + 16;

/// Whether a segment begins with a record that belongs to a handshake.
#[inline(always)]
pub const fn is_handshake(first: FirstBytes) -> bool {
    first[1] == MAJOR && (first[0] == HANDSHAKE || first[0] == CHANGE_CIPHER_SPEC)
}

/// Whether a segment begins with a record of application data.
#[inline(always)]
pub const fn is_data(first: FirstBytes) -> bool {
    first[1] == MAJOR && first[0] == APPLICATION_DATA
}

/// Whether a segment is a change of cipher spec and nothing else, which says nothing.
#[inline(always)]
pub const fn is_change_cipher_spec(first: FirstBytes, payload_bytes: u32) -> bool {
    first[1] == MAJOR && first[0] == CHANGE_CIPHER_SPEC && payload_bytes == CHANGE_CIPHER_SPEC_BYTES
}

/// Whether a segment of this many payload bytes is nothing but an alert, such as the close_notify
/// with which an agent ends a connection: nobody answers that. (An application that sends exactly two
/// bytes in TLS 1.3 looks the same; such a call is not counted.)
#[inline(always)]
pub const fn is_alert(first: FirstBytes, payload_bytes: u32) -> bool {
    first[1] == MAJOR
        && match first[0] {
            ALERT => true,
            APPLICATION_DATA => payload_bytes == SEALED_ALERT_BYTES,
            // The first that a client of TLS 1.3 seals follows this, in the same segment.
            CHANGE_CIPHER_SPEC => payload_bytes == CHANGE_CIPHER_SPEC_BYTES + SEALED_ALERT_BYTES,
            _ => false,
        }
}

/// Whether an alert ([`is_alert`]) can be read, by its length.
#[inline(always)]
pub const fn is_clear(first: FirstBytes, payload_bytes: u32) -> bool {
    first[0] == ALERT && payload_bytes == ALERT_BYTES as u32
}

/// Whether an alert in clear text ends the connection. (One that does not: that the name is not
/// known, or that the sender closes.)
#[inline(always)]
pub const fn is_fatal(alert: [u8; ALERT_BYTES]) -> bool {
    let [kind, major, _, high, low, level, _] = alert;
    kind == ALERT && major == MAJOR && high == 0 && low == 2 && level == FATAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_told_by_type_or_length() {
        assert!(is_alert([0x15, 3], 31), "TLS 1.2");
        assert!(is_alert([0x17, 3], 24), "TLS 1.3");
        assert!(is_alert([0x14, 3], 30), "TLS 1.3, the first that is sealed");
        assert!(!is_alert([0x17, 3], 25), "three bytes of data");
        assert!(!is_alert([0x16, 3], 24));
        assert!(!is_alert([0x14, 3], 51), "Finished of TLS 1.2");
        assert!(!is_alert([0x14, 3], 6));
        assert!(!is_alert([0x15, 9], 24), "not TLS");
    }

    #[test]
    fn the_level_says_whether_an_alert_is_the_end() {
        assert!(is_fatal([0x15, 3, 3, 0, 2, 2, 48]), "unknown_ca");
        assert!(!is_fatal([0x15, 3, 3, 0, 2, 1, 112]), "unrecognized_name");
        assert!(!is_fatal([0x15, 3, 3, 0, 2, 1, 0]), "close_notify");
        assert!(!is_fatal([0x15, 3, 3, 0, 26, 2, 48]), "sealed");
        assert!(is_clear([0x15, 3], 7) && !is_clear([0x15, 3], 31) && !is_clear([0x17, 3], 7));
    }

    #[test]
    fn a_change_of_cipher_spec_alone() {
        assert!(is_change_cipher_spec([0x14, 3], 6));
        assert!(!is_change_cipher_spec([0x14, 3], 64), "Finished follows");
    }
}
