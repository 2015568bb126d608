//! `static:DIR`: while a service is down, its plain-HTTP calls are answered from a directory.
//!
//! `GET /v1/models?x=1` is answered by the first of these that is a file: `DIR/v1/models`,
//! `DIR/v1/models/index.html`, `DIR/v1/models/index.json`, `DIR/v1/models.json`. Queries are not
//! looked at. Every answer says that it is none of the service's (`X-Guard-Fallback: static`) and how
//! old it is (`Age`, `Last-Modified`: those of the file). What is not there, and whatever is not GET
//! or HEAD, is answered by 503, as the service is down: a 404 would be a statement about the service.
//!
//! It never leaves the directory, not even by a symbolic link, and never writes.

mod beneath;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AGE, HeaderName, HeaderValue, LAST_MODIFIED};
use hyper::http::uri::PathAndQuery;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt as _;
use tower_http::services::ServeDir;

use self::beneath::Beneath;
use super::accept::{Stop, accept, converse};
use super::wire::Wire;
use super::{Lookup, json};

/// Says whose answer it is.
pub(super) const FALLBACK_HEADER: HeaderName = HeaderName::from_static("x-guard-fallback");

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// The files of one service.
pub struct Files {
    /// Name of the service, for answers.
    pub service: String,
    /// Where they are.
    pub directory: PathBuf,
    /// Whose connections are served.
    pub lookup: Lookup,
}

/// Whether a directory can be served from now.
pub fn is_usable(directory: &std::path::Path) -> std::io::Result<()> {
    std::fs::read_dir(directory).map(drop)
}

/// Serves until `stop` says otherwise.
pub async fn serve(listener: TcpListener, files: Arc<Files>, stop: watch::Receiver<Stop>) {
    let each = |wire, stop| connection(wire, Arc::clone(&files), stop);
    let refused = || tracing::debug!(service = files.service, "too many calls to the files");
    accept(listener, &files.service, &stop, each, refused).await;
}

async fn connection(wire: Wire, files: Arc<Files>, stop: watch::Receiver<Stop>) {
    if wire.client().and_then(|client| (files.lookup)(client)).is_none() {
        tracing::debug!(service = files.service, "not redirected by guard: reset");
        return wire.reset();
    }
    let name = files.service.clone();
    let service = service_fn(move |request| {
        let files = Arc::clone(&files);
        async move { Ok::<_, Infallible>(files.answer(&request).await) }
    });
    if let Err(error) = converse(wire, stop, Arc::new(service)).await {
        tracing::debug!(service = name, %error, "a client of the files went away or spoke no HTTP");
    }
}

impl Files {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let why = format!(
                "{} is not answered from files: service {} is down, and its fallback has GET and \
                 HEAD alone",
                request.method(),
                self.service
            );
            return Self::nothing(&why);
        }
        let files = ServeDir::with_backend("", Beneath::new(self.directory.clone()))
            .append_index_html_on_directories(true)
            .redirect_to_trailing_slash(false);
        for path in candidates(request.uri().path()) {
            let mut inner = Request::new(());
            *inner.method_mut() = request.method().clone();
            *inner.uri_mut() = Uri::from(path);
            inner.headers_mut().clone_from(request.headers());
            let Ok(response) = files.clone().oneshot(inner).await;
            if !matches!(response.status(), StatusCode::NOT_FOUND) {
                return mark(response.map(BodyExt::boxed_unsync));
            }
        }
        Self::nothing(&format!(
            "no file for {} in the fallback of service {}, which is down",
            request.uri().path(),
            self.service
        ))
    }

    fn nothing(why: &str) -> Response<Body> {
        let help = "try again later; guard goes back to the service as soon as it answers";
        let response = json::unavailable(why, help);
        mark(response.map(|body| body.map_err(|never| match never {}).boxed_unsync()))
    }
}

/// Paths that may answer for a path, in order. The rest of what is asked is left out.
fn candidates(path: &str) -> impl Iterator<Item = PathAndQuery> {
    let bare = path.trim_end_matches('/').to_owned();
    let mut list = vec![path.to_owned(), format!("{bare}/index.json")];
    if !bare.is_empty() {
        list.push(format!("{bare}.json"));
    }
    list.into_iter().filter_map(|path| PathAndQuery::try_from(path).ok())
}

/// Says that it is no answer of the service's, and how old it is.
fn mark(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(FALLBACK_HEADER, HeaderValue::from_static("static"));
    let modified = headers.get(LAST_MODIFIED).and_then(|value| value.to_str().ok());
    if let Some(modified) = modified.and_then(|text| httpdate::parse_http_date(text).ok()) {
        let age: Duration = SystemTime::now().duration_since(modified).unwrap_or_default();
        headers.insert(AGE, HeaderValue::from(age.as_secs()));
    }
    response
}
