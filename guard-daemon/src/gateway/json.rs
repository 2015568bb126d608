//! Answers of guardd itself, to an agent that asked somebody else: what, why, and what helps.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// 503, with a body in JSON: `error` and `help`.
pub(super) fn unavailable(error: &str, help: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "error": error, "help": help, "from": "guard" }).to_string();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
