//! Bytes as they are, both ways: TLS, servers that speak first, and whatever is no HTTP/1. Ends, resets
//! and backpressure of one side are those of the other.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};

use super::outward;
use super::retry::TIME_MAX;
use super::service::Gateway;
use super::wire::Wire;

/// Passes a connection through until both sides have closed it, or one has reset it.
pub(super) async fn pass(gateway: &Gateway, client: Wire, to: SocketAddr) {
    gateway.counters.passed.fetch_add(1, Ordering::Relaxed);
    gateway.budget().call(Instant::now());
    let connecting = outward::connect(gateway, to, Instant::now() + TIME_MAX);
    let connected = tokio::select! {
        connected = connecting => connected,
        () = client.gone() => return,
    };
    match connected {
        Ok(stream) => both_ways(client, Wire::new(stream, Bytes::new())).await,
        Err(error) => {
            tracing::debug!(service = gateway.service, %to, %error, "no connection: reset");
        }
    }
}

/// Copies until both sides have ended.
pub(super) async fn both_ways(mut client: Wire, mut service: Wire) {
    if let Err(error) = copy(&mut client, &mut service).await {
        tracing::debug!(%error, "a connection that is passed through breaks: both sides are reset");
        client.reset();
        service.reset();
    }
}

/// The same of an upgraded connection, whose ends hyper holds.
pub(super) async fn copy(
    one: &mut (impl AsyncRead + AsyncWrite + Unpin),
    other: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> std::io::Result<()> {
    copy_bidirectional(one, other).await.map(drop)
}
