//! The stream of events: JSON lines, one per event, until the client goes away, the handler
//! ends it, or guardd stops. Never buffers more than a few events for a slow client: the
//! handler's channel fills up instead, and the handler decides.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tracing::error;

use super::api::{EventQuery, EventRecord};
use super::reply::raw;

const LINES_AHEAD: usize = 16;

/// The answer that streams `events`.
pub(super) fn stream(
    query: EventQuery,
    events: mpsc::Receiver<EventRecord>,
    stop: watch::Receiver<bool>,
) -> Response<Body> {
    let (lines, body) = mpsc::channel(LINES_AHEAD);
    tokio::spawn(pump(query, events, lines, stop));
    let body = Body::from_stream(ReceiverStream::new(body));
    raw(StatusCode::OK, "application/x-ndjson", body)
}

async fn pump(
    query: EventQuery,
    mut events: mpsc::Receiver<EventRecord>,
    lines: mpsc::Sender<Result<Bytes, Infallible>>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let event = tokio::select! {
            // A sender that is gone counts as a stop too.
            _ = stop.wait_for(|stop| *stop) => return,
            () = lines.closed() => return,
            event = events.recv() => event,
        };
        let Some(event) = event else { return };
        if !query.matches(&event) {
            continue;
        }
        let mut line = match serde_json::to_vec(&event) {
            Ok(line) => line,
            Err(failed) => {
                error!(error = %failed, seq = event.seq, "event left out of a stream: not writable as JSON");
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
