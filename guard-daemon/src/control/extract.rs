//! From HTTP requests to the types of the contract, each error told with place and reason.
//! Never reads more than the limit into memory, and never waits for a body without end.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use super::BODY_LIMIT_BYTES;
use super::reply::Failure;

const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// So much of a body that is too large is still read (and dropped), so that the client gets to
/// read the answer instead of a broken pipe.
const DRAIN_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// A JSON body.
pub(super) struct Input<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Failure> {
        let read = tokio::time::timeout(BODY_TIMEOUT, read_body(request.into_body())).await;
        let bytes = read.map_err(|_| {
            let error = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Failure::bad(StatusCode::REQUEST_TIMEOUT, error, "")
        })??;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let error = format!("the body is not what this path takes: {error}");
            let help = "guardctl and guardd must be of one version (guardctl version)";
            Failure::bad(StatusCode::BAD_REQUEST, error, help)
        })
    }
}

async fn read_body(mut body: Body) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut seen_bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Failure::bad(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"), "")
        })?;
        let Some(data) = frame.data_ref() else { continue };
        seen_bytes += data.len();
        if seen_bytes <= BODY_LIMIT_BYTES {
            bytes.extend_from_slice(data);
        } else if seen_bytes > DRAIN_LIMIT_BYTES {
            break;
        }
    }
    if seen_bytes > BODY_LIMIT_BYTES {
        let error = format!("the body is larger than {BODY_LIMIT_BYTES} bytes");
        let help = "no request of guardctl needs as much: shorten the arguments";
        return Err(Failure::bad(StatusCode::PAYLOAD_TOO_LARGE, error, help));
    }
    Ok(bytes)
}

/// The query string; unknown keys are errors if `T` says so.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        Query::<T>::try_from_uri(&parts.uri).map(|Query(value)| Self(value)).map_err(|error| {
            let error = format!("{}: {}", parts.uri.path(), error.body_text());
            Failure::bad(StatusCode::BAD_REQUEST, error, "")
        })
    }
}
