//! Accepts control connections, checks who is there, serves one request each, stops in good
//! order. One request per connection: a client that is done cannot keep a place.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt;
use tracing::{debug, error, warn};

use super::access::{AccessRule, Role};
use super::api::ErrorBody;
use super::handler::Handler;
use super::peer::Peer;
use super::reply::Failure;
use super::routes::router;

/// Connections served at once; beyond it only root is (`halt` must always get through).
const CONNECTIONS_MAX: usize = 128;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// What requests under way get at a stop.
const STOP_GRACE: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `listener` until `shutdown` is done; then accepts no more, ends streams of events,
/// and gives other requests 5 s. The caller removes the socket ([`super::unlink`]).
pub async fn serve<H: Handler>(
    listener: UnixListener,
    handler: Arc<H>,
    access: AccessRule,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (stop, stopped) = watch::channel(false);
    let routes = router(Arc::clone(&handler), stopped.clone());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => note_end(ended),
            accepted = listener.accept() => {
                let opened = accepted.and_then(|(stream, _)| Peer::of(&stream).map(|p| (stream, p)));
                match opened {
                    Ok((stream, peer)) => {
                        let admitted = admit(&access, &peer, connections.len(), handler.as_ref());
                        let routes = routes.clone();
                        connections.spawn(connection(stream, peer, admitted, routes, stopped.clone()));
                    }
                    Err(failed) => {
                        // Out of descriptors, for one: without the pause this would spin.
                        warn!(error = %failed, "control connection not accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
    drop(listener);
    stop.send_replace(true);
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            note_end(ended);
        }
    };
    if tokio::time::timeout(STOP_GRACE, all_ended).await.is_err() {
        warn!(count = connections.len(), "control requests cut off at the stop");
        connections.shutdown().await;
    }
}

fn note_end(ended: Result<(), tokio::task::JoinError>) {
    if let Err(failed) = ended {
        error!(error = %failed, "a control connection did not come to its end");
    }
}

/// As whom to serve, or what to answer instead.
fn admit<H: Handler>(
    access: &AccessRule,
    peer: &Peer,
    open: usize,
    handler: &H,
) -> Result<Role, (StatusCode, ErrorBody)> {
    let role = access.check(peer).map_err(|body| {
        warn!(
            uid = peer.uid,
            gid = peer.gid,
            pid = peer.pid,
            "control request refused: {}",
            body.error
        );
        handler.peer_refused(peer);
        (StatusCode::FORBIDDEN, body)
    })?;
    if open >= CONNECTIONS_MAX && peer.uid != 0 {
        warn!(
            uid = peer.uid,
            pid = peer.pid,
            open,
            "control request refused: too many connections"
        );
        let body = ErrorBody {
            error: format!("guardd has {open} control connections open and takes no more"),
            help: "end some of `guardctl events --follow`, or ask as root".into(),
            exit_code: 1,
        };
        return Err((StatusCode::SERVICE_UNAVAILABLE, body));
    }
    Ok(role)
}

async fn connection(
    stream: UnixStream,
    peer: Peer,
    admitted: Result<Role, (StatusCode, ErrorBody)>,
    routes: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let (routes, admitted) = (routes.clone(), admitted.clone());
        async move {
            let role = match admitted {
                Ok(role) => role,
                Err((status, body)) => {
                    return Ok::<_, Infallible>(Failure::new(status, body).into_response());
                }
            };
            debug!(uid = peer.uid, pid = peer.pid, method = %request.method(), uri = %request.uri(), "control request");
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(role);
            routes.oneshot(request).await
        }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let stopping = async { stopped.wait_for(|stop| *stop).await.is_ok() };
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        _ = stopping => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    match ended {
        Ok(()) => {}
        Err(failed) if is_hang_up(&failed) => debug!(pid = peer.pid, "control client went away"),
        Err(failed) => {
            debug!(pid = peer.pid, error = %failed, "control connection broke off");
        }
    }
}

fn is_hang_up(error: &hyper::Error) -> bool {
    use std::error::Error as _;
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.is_incomplete_message()
        || io.is_some_and(|io| {
            matches!(io.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
        })
}
