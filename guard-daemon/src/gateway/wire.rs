//! One connection, as it was found: what was read of it already comes first, and an end that is not a
//! clean one is a reset. A truncated answer must not look like a whole one, and the breaker of the
//! agent's side judges by how its connections end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection that is reset when it is dropped before its writing end was closed in good order.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    read_before: Bytes,
    is_clean: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, read_before: Bytes) -> Self {
        Self { stream, read_before, is_clean: false }
    }

    /// Address of the other end; `None` = it is gone.
    pub(super) fn client(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// Gives bytes back that were read of it, to be read again.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        self.read_before = bytes;
    }

    /// However it ended so far, its end is a reset.
    pub(super) fn reset(mut self) {
        self.is_clean = false;
    }

    /// Comes back when the peer has gone for good: it has reset the connection, or closed it before it
    /// said anything. One that has only closed its writing end may still wait for an answer.
    pub(super) async fn gone(&self) {
        let mut byte = [0];
        match self.stream.peek(&mut byte).await {
            Err(_) => {}
            Ok(0) if self.read_before.is_empty() => {}
            Ok(_) => std::future::pending().await,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if !self.is_clean
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "a connection ends without a reset");
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_before.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.read_before.len().min(buffer.remaining());
        buffer.put_slice(&self.read_before[..length]);
        self.read_before.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        if matches!(ended, Poll::Ready(Ok(()))) {
            self.is_clean = true;
        }
        ended
    }
}
