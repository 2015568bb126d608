//! GET requests of probes, in clear text. It follows no redirection, keeps no connection, and never
//! reads more of an answer than it was allowed to.

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Asks; the answer's body is still to be read. The caller keeps the time.
pub(super) async fn get(url: &str) -> Result<Response<Incoming>, String> {
    let uri: hyper::Uri = url.parse().map_err(|error| format!("{url} is no URL: {error}"))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    client.get(uri).await.map_err(|error| causes(&error))
}

/// The body of an answer, if it is not longer than this.
pub(super) async fn body(answer: Response<Incoming>, most_bytes: usize) -> Result<Bytes, String> {
    match Limited::new(answer.into_body(), most_bytes).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(format!("the answer is longer than {most_bytes} bytes"))
        }
        Err(error) => Err(format!("the answer broke off: {}", causes(error.as_ref()))),
    }
}

/// An error with its causes, which say more than itself.
fn causes(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    texts.join(": ")
}
