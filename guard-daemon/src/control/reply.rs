//! From results to HTTP answers: JSON always, for errors too, so that a client never has to
//! guess what it reads.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use tracing::error;

use super::api::ErrorBody;

/// An [`ErrorBody`] with its HTTP status.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    body: ErrorBody,
}

impl Failure {
    pub(super) fn new(status: StatusCode, body: ErrorBody) -> Self {
        Self { status, body }
    }

    /// The client asked for something that cannot be (exit code 2).
    pub(super) fn bad(status: StatusCode, error: impl Into<String>, help: &str) -> Self {
        Self::new(status, ErrorBody { error: error.into(), help: help.into(), exit_code: 2 })
    }
}

impl From<ErrorBody> for Failure {
    fn from(body: ErrorBody) -> Self {
        let status = match body.exit_code {
            1 => StatusCode::CONFLICT,
            2 => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, body }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        json(self.status, &self.body)
    }
}

/// An answer as JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => raw(status, "application/json", Body::from(bytes)),
        Err(failed) => {
            error!(error = %failed, "an answer of the control socket cannot be written as JSON");
            let text = r#"{"error":"guardd could not write its answer as JSON: a bug, see its log","exit_code":2}"#;
            raw(StatusCode::INTERNAL_SERVER_ERROR, "application/json", Body::from(text))
        }
    }
}

/// An answer with this content type.
pub(super) fn raw(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
