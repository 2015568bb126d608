//! `/metrics`, `/healthz`, `/readyz` over TCP. Read-only: nothing here changes guard.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::metrics::{self, Sample};

/// Where the pages come from.
pub trait Source: Send + Sync + 'static {
    /// A fresh sample; blocking.
    fn sample(&self) -> Result<Sample, String>;

    /// `Err` with the reasons if guard does not do all of its work; blocking.
    fn ready(&self) -> Result<(), String>;
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What requests under way get at a stop. A client that never ends its request must not keep
/// guardd, and with it all that it has on the host.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Serves until `shutdown` is done; requests under way then get 2 s.
pub async fn serve<S: Source>(
    listener: TcpListener,
    source: Arc<S>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let for_metrics = Arc::clone(&source);
    let router = Router::new()
        .route("/metrics", get(move || blocking(for_metrics, scrape)))
        // Alive: this answer itself proves that the process and its runtime work.
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || blocking(source, readiness)));
    let (stopping, mut stopped) = watch::channel(false);
    let shutdown = async move {
        shutdown.await;
        stopping.send_replace(true);
    };
    let overtime = async move {
        // An error means that the server, which has the sender, has ended.
        if stopped.wait_for(|stopping| *stopping).await.is_ok() {
            tokio::time::sleep(STOP_GRACE).await;
        }
    };
    let serving = axum::serve(listener, router).with_graceful_shutdown(shutdown);
    tokio::select! {
        biased;
        ended = serving.into_future() => ended,
        () = overtime => {
            tracing::warn!("clients of /metrics cut off at the stop");
            Ok(())
        }
    }
}

async fn blocking<S: Source>(source: Arc<S>, answer: fn(&S) -> Response) -> Response {
    tokio::task::spawn_blocking(move || answer(&source)).await.unwrap_or_else(|error| {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
    })
}

fn scrape<S: Source>(source: &S) -> Response {
    let text =
        source.sample().and_then(|sample| metrics::render(sample).map_err(|e| e.to_string()));
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn readiness<S: Source>(source: &S) -> Response {
    match source.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reasons}\n")).into_response(),
    }
}
