//! Takes connections in, until it is told to stop; and HTTP/1 conversations of theirs, which come to
//! their end when they are told to. Whoever comes while it stops is still served: the kernel may have
//! sent it a moment ago.

use std::pin::pin;
use std::sync::Arc;

use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::limits::{
    ACCEPT_PAUSE, CONNECTIONS_MAX, DRAIN, HEAD_BYTES_MAX, HEAD_TIMEOUT, HEADERS_MAX, LAST_LOOK,
};
use super::wire::Wire;

/// What a server has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// To serve.
    No,
    /// To take no more connections in; those that there are go on for as long as they like, but no
    /// HTTP conversation begins another call.
    Retire,
    /// To come to an end: what goes on has 3 s, and is reset then.
    End,
}

/// Waits until it is told this, or more; or nobody is left who could tell it.
async fn told(stop: &mut watch::Receiver<Stop>, least: Stop) {
    drop(stop.wait_for(|stop| *stop >= least).await);
}

/// Gives each connection to `serve` (as a task of its own) until `stop` says otherwise. Those beyond
/// the limit are reset and told to `refused`.
pub(super) async fn accept<F>(
    listener: TcpListener,
    service: &str,
    stop: &watch::Receiver<Stop>,
    serve: impl Fn(Wire, watch::Receiver<Stop>) -> F,
    refused: impl Fn(),
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let take = |connections: &mut JoinSet<()>, stream: TcpStream| {
        let wire = Wire::new(stream, Bytes::new());
        if connections.len() >= CONNECTIONS_MAX {
            // A reset at once is better than a wait in the queue.
            refused();
            wire.reset();
        } else {
            connections.spawn(serve(wire, stop.clone()));
        }
    };
    let mut stopping = stop.clone();
    {
        let mut retired = pin!(told(&mut stopping, Stop::Retire));
        loop {
            tokio::select! {
                biased;
                () = &mut retired => break,
                Some(ended) = connections.join_next() => note(ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => take(&mut connections, stream),
                    Err(error) => {
                        tracing::warn!(service, %error, "a redirected call is lost");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
    // The kernel knows another way by now; who was sent here before is in the queue.
    let until = Instant::now() + LAST_LOOK;
    while let Ok(Ok((stream, _))) = timeout_at(until, listener.accept()).await {
        take(&mut connections, stream);
    }
    drop(listener);
    let mut ended = pin!(told(&mut stopping, Stop::End));
    loop {
        tokio::select! {
            biased;
            next = connections.join_next() => match next {
                Some(ended) => note(ended),
                None => return,
            },
            () = &mut ended => break,
        }
    }
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            note(ended);
        }
    };
    if timeout(DRAIN, all_ended).await.is_err() {
        tracing::info!(service, left = connections.len(), "redirected connections are reset");
        connections.shutdown().await;
    }
}

fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a redirected connection panicked");
    }
}

/// Serves HTTP/1 over a connection to its end. Once it is told to stop, the call under way is its last.
pub(super) async fn converse<S, B>(
    wire: Wire,
    mut stop: watch::Receiver<Stop>,
    service: Arc<S>,
) -> hyper::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .preserve_header_case(true)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades();
    let mut served = pin!(served);
    tokio::select! {
        ended = served.as_mut() => ended,
        () = told(&mut stop, Stop::Retire) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    }
}
