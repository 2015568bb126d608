//! The smallest HTTP/1.1 client: one GET, one answer, connection closed. For readiness and
//! metrics, not for measuring.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::timing;

/// Status and body of `GET path`.
pub fn get(address: SocketAddr, path: &str, limit: Duration) -> Result<(u16, String)> {
    ensure!(address.ip().is_loopback(), "{address} is not loopback");
    let limit = timing::at_most(limit);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no header")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.context("the answer has no status")?, unchunk(head, body)))
}

/// Takes the chunk lengths out of a body with `transfer-encoding: chunked`.
fn unchunk(head: &str, body: &str) -> String {
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut whole, mut rest) = (String::new(), body);
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        let (Some(chunk), true) = (after.get(..length), length > 0) else { break };
        whole.push_str(chunk);
        rest = after.get(length + 2..).unwrap_or("");
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::unchunk;

    #[test]
    fn chunks_are_joined() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked";
        assert_eq!(unchunk(head, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "abcde");
        assert_eq!(unchunk("HTTP/1.1 200 OK", "plain"), "plain");
    }
}
