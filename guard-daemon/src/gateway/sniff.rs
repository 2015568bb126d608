//! What a client speaks, by its first bytes. Only what is an HTTP/1 request beyond doubt is taken for
//! one: whatever else it may be is passed through as it is.

use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::limits::HEAD_TIMEOUT;
use super::wire::Wire;
use crate::plan::Protocol;

/// How long a client may say nothing before it is taken for one that waits for the server's greeting.
const SILENCE: Duration = Duration::from_millis(200);
/// How long the rest of a first line may take.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest first line.
const LINE_BYTES_MAX: usize = 16 * 1_024;
/// Longest method.
const METHOD_BYTES_MAX: usize = 24;

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// An HTTP/1 request.
    Http,
    /// Something else.
    Other,
    /// It cannot be told yet.
    Unclear,
}

/// Judges what has come so far.
pub(super) fn judge(bytes: &[u8]) -> Speaks {
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let method = bytes.iter().take_while(|byte| is_method(byte)).count();
    if method > METHOD_BYTES_MAX {
        return Speaks::Other;
    }
    let Some(after) = bytes.get(method) else { return Speaks::Unclear };
    // A CONNECT asks for what this is already.
    if *after != b' ' || method == 0 || &bytes[..method] == b"CONNECT" {
        return Speaks::Other;
    }
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        let fits = bytes.len() < LINE_BYTES_MAX && bytes.iter().all(|byte| is_text(*byte));
        return if fits { Speaks::Unclear } else { Speaks::Other };
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let is_http = line.len() <= LINE_BYTES_MAX
        && line.iter().all(|byte| is_text(*byte))
        && (line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"))
        && line.split(|byte| *byte == b' ').count() == 3;
    if is_http { Speaks::Http } else { Speaks::Other }
}

/// What may be in a request line: targets in UTF-8 are wrong and happen.
fn is_text(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\r'
}

/// Reads until it is clear what the client speaks; what was read will be read again. Errors and ends
/// are left for whoever goes on with the connection.
pub(super) async fn sniff(wire: &mut Wire, protocol: Protocol) -> Speaks {
    let mut read = Vec::new();
    let speaks = read_until_clear(wire, protocol, &mut read).await;
    wire.unread(Bytes::from(read));
    speaks
}

async fn read_until_clear(wire: &mut Wire, protocol: Protocol, read: &mut Vec<u8>) -> Speaks {
    let mut patience = match protocol {
        Protocol::Tcp | Protocol::Tls => return Speaks::Other,
        Protocol::Auto => SILENCE,
        Protocol::Http => HEAD_TIMEOUT,
    };
    loop {
        match timeout(patience, wire.read_buf(read)).await {
            Ok(Ok(1..)) => {}
            _ => return Speaks::Other,
        }
        match judge(read) {
            Speaks::Unclear => patience = LINE_TIMEOUT,
            clear => return clear,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_known_and_nothing_else() {
        for http in [
            "GET / HTTP/1.1\r\n",
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.0\r\n",
            "M-SEARCH * HTTP/1.1\r\n",
            "GET http://a/ HTTP/1.1\n",
        ] {
            assert_eq!(judge(http.as_bytes()), Speaks::Http, "{http}");
        }
        for other in [
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\n",
            "GET key\r\n",
            "GET /\r\n",
            "EHLO a\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "*1\r\n$4\r\nPING\r\n",
            "get / HTTP/1.1\r\n",
            "GET / a HTTP/1.1\r\n",
            " GET / HTTP/1.1\r\n",
            "\r\nGET / HTTP/1.1\r\n",
            "\x16\x03\x01\x02\x00\x01",
            "\0",
        ] {
            assert_eq!(judge(other.as_bytes()), Speaks::Other, "{other:?}");
        }
        for unclear in ["", "G", "GET", "GET ", "GET /a HTTP/1.1", "GET /a HTTP/1.1\r"] {
            assert_eq!(judge(unclear.as_bytes()), Speaks::Unclear, "{unclear:?}");
        }
        let endless = format!("GET /{}", "a".repeat(LINE_BYTES_MAX));
        assert_eq!(judge(endless.as_bytes()), Speaks::Other);
    }

    proptest! {
        /// However the bytes come in pieces: what is clear once stays so, and it is always clear at last.
        #[test]
        fn more_bytes_never_change_a_judgement(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                "[A-Z]{1,8} [!-~]{1,40} HTTP/1\\.[01]\r?\n[ -~]{0,20}".prop_map(String::into_bytes),
                "[A-Z \r\n]{0,60}".prop_map(String::into_bytes),
            ],
        ) {
            let mut clear = None;
            for length in 0..=bytes.len() {
                let now = judge(&bytes[..length]);
                if let Some(before) = clear {
                    prop_assert_eq!(now, before);
                }
                clear = clear.or((now != Speaks::Unclear).then_some(now));
            }
            if bytes.contains(&b'\n') {
                prop_assert!(clear.is_some());
            }
        }
    }
}
