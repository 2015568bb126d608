//! Streams of JSON lines (events, signs of life of a drill), until the client goes away, the handler
//! ends it, or guardd stops. Never buffers more than a few lines for a slow client: the handler's
//! channel fills up instead, and the handler decides.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tracing::error;

use super::reply::raw;

const LINES_AHEAD: usize = 16;

/// The answer that streams those `items` that are wanted.
pub(super) fn stream<T: Serialize + Send + 'static>(
    wanted: impl Fn(&T) -> bool + Send + 'static,
    items: mpsc::Receiver<T>,
    stop: watch::Receiver<bool>,
) -> Response<Body> {
    let (lines, body) = mpsc::channel(LINES_AHEAD);
    tokio::spawn(pump(wanted, items, lines, stop));
    let body = Body::from_stream(ReceiverStream::new(body));
    raw(StatusCode::OK, "application/x-ndjson", body)
}

async fn pump<T: Serialize>(
    wanted: impl Fn(&T) -> bool,
    mut items: mpsc::Receiver<T>,
    lines: mpsc::Sender<Result<Bytes, Infallible>>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let item = tokio::select! {
            // A sender that is gone counts as a stop too.
            _ = stop.wait_for(|stop| *stop) => return,
            () = lines.closed() => return,
            item = items.recv() => item,
        };
        let Some(item) = item else { return };
        if !wanted(&item) {
            continue;
        }
        let mut line = match serde_json::to_vec(&item) {
            Ok(line) => line,
            Err(failed) => {
                error!(error = %failed, "left out of a stream: not writable as JSON");
                continue;
            }
        };
        line.push(b'\n');
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            sent = lines.send(Ok(line.into())) => if sent.is_err() { return },
        }
    }
}
