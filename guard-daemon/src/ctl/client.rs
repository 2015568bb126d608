//! Asks guardd over its control socket. Tells apart what the operator must do differently:
//! no daemon, no permission, no answer, or an answer that is no.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;

use crate::control::api::ErrorBody;

/// What a request gets.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What requests get that look at much (`doctor`, `reload`).
const PATIENT_TIMEOUT: Duration = Duration::from_mins(1);
/// An answer that is larger is not guardd's.
const ANSWER_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers at {} ({reason})", path.display())]
    NoDaemon { path: PathBuf, reason: &'static str },
    /// The socket is not for this user.
    #[error("no permission to use {}: it is for root, members of the socket's group and owners of bulkheads", path.display())]
    Denied { path: PathBuf },
    /// The path cannot be a socket.
    #[error("cannot connect to {}: {source}", path.display())]
    BadSocket { path: PathBuf, source: io::Error },
    /// It listens, but does not answer.
    #[error("guardd at {} did not answer within {seconds} s", path.display())]
    Timeout { path: PathBuf, seconds: u64 },
    /// It hung up.
    #[error("guardd at {} broke off before its answer was complete: {reason}", path.display())]
    Broken { path: PathBuf, reason: String },
    /// It said something unknown.
    #[error("what answers at {} is not a guardd of version {}: {reason}", path.display(), env!("CARGO_PKG_VERSION"))]
    Garbled { path: PathBuf, reason: String },
    /// It said no.
    #[error("{}", .0.error)]
    Refused(ErrorBody),
}

impl From<ClientError> for ErrorBody {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        let (help, exit_code) = match error {
            ClientError::Refused(body) => return body,
            ClientError::NoDaemon { .. } => (
                "systemctl start guardd, or: guardd --config /etc/guard/guard.toml; another socket: --socket PATH or GUARD_SOCKET",
                4,
            ),
            ClientError::Denied { .. } => {
                ("use sudo, or add the user to group guard and log in again", 2)
            }
            ClientError::BadSocket { .. } => {
                ("name guardd's control socket: --socket PATH or GUARD_SOCKET", 2)
            }
            ClientError::Timeout { .. } => {
                ("journalctl -u guardd -n 50; if it hangs: systemctl restart guardd", 4)
            }
            ClientError::Broken { .. } => ("journalctl -u guardd -n 50", 4),
            ClientError::Garbled { .. } => {
                ("guardctl version shows both versions; check --socket", 4)
            }
        };
        Self { error: text, help: help.into(), exit_code }
    }
}

/// A guardd, by its socket. Each request has a connection of its own.
#[derive(Clone, Debug)]
pub(super) struct Client {
    path: PathBuf,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), timeout: TIMEOUT }
    }

    /// Where it asks.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// For requests that may take guardd long.
    pub(super) fn patient(&self) -> Self {
        Self { path: self.path.clone(), timeout: PATIENT_TIMEOUT }
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        self.request(Method::GET, target, Bytes::new()).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        target: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.garbled(&error))?;
        self.request(Method::POST, target, body.into()).await
    }

    pub(super) async fn delete<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        self.request(Method::DELETE, target, Bytes::new()).await
    }

    /// A stream of JSON lines; only its beginning has a time limit.
    pub(super) async fn stream(&self, target: &str) -> Result<Lines, ClientError> {
        self.begin_stream(Method::GET, target, Bytes::new()).await
    }

    /// The same as the answer to a body. Dropping it hangs up.
    pub(super) async fn stream_of(
        &self,
        target: &str,
        body: &impl Serialize,
    ) -> Result<Lines, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.garbled(&error))?;
        self.begin_stream(Method::POST, target, body.into()).await
    }

    async fn begin_stream(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<Lines, ClientError> {
        let begin = self.send(method, target, body);
        let response = self.in_time(begin).await?;
        if !response.status().is_success() {
            return Err(self
                .in_time(self.read::<()>(response))
                .await
                .err()
                .unwrap_or_else(|| self.garbled(&"an error that is none")));
        }
        Ok(Lines { client: self.clone(), body: response.into_body(), buffer: Vec::new() })
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        self.in_time(async { self.read(self.send(method, target, body).await?).await }).await
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| {
            Err(ClientError::Timeout { path: self.path.clone(), seconds: self.timeout.as_secs() })
        })
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.path).await.map_err(|e| self.not_connected(e))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(&e))?;
        // Its errors come out of the request and the body, too.
        tokio::spawn(connection);
        let mut request =
            Request::builder().method(method).uri(target).header(header::HOST, "guardd");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).map_err(|error| self.garbled(&error))?;
        sender.send_request(request).await.map_err(|error| {
            if error.is_parse() { self.garbled(&error) } else { self.broken(&error) }
        })
    }

    async fn read<T: DeserializeOwned>(
        &self,
        response: Response<Incoming>,
    ) -> Result<T, ClientError> {
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LIMIT_BYTES);
        let bytes = body.collect().await.map_err(|e| self.broken(&e))?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| self.garbled(&error));
        }
        match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => Err(ClientError::Refused(body)),
            Err(error) => Err(self.garbled(&format!("{status}, {error}"))),
        }
    }

    fn not_connected(&self, source: io::Error) -> ClientError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::NotFound => ClientError::NoDaemon { path, reason: "no such socket" },
            io::ErrorKind::ConnectionRefused => {
                ClientError::NoDaemon { path, reason: "nobody listens" }
            }
            io::ErrorKind::PermissionDenied => ClientError::Denied { path },
            _ => ClientError::BadSocket { path, source },
        }
    }

    fn broken(&self, reason: &dyn std::fmt::Display) -> ClientError {
        ClientError::Broken { path: self.path.clone(), reason: reason.to_string() }
    }

    fn garbled(&self, reason: &dyn std::fmt::Display) -> ClientError {
        ClientError::Garbled { path: self.path.clone(), reason: reason.to_string() }
    }
}

/// A stream of JSON lines.
#[derive(Debug)]
pub(super) struct Lines {
    client: Client,
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line; `None` when guardd ended the stream in good order.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|e| self.client.garbled(&e));
            }
            if self.buffer.len() > ANSWER_LIMIT_BYTES {
                return Err(self.client.garbled(&"a line without end"));
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(self.client.broken(&"in the middle of an event")),
                Some(Err(error)) => return Err(self.client.broken(&error)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
            }
        }
    }
}

/// A name as part of a request's path or query.
pub(super) fn percent_encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
