//! One request, as often as it may be sent: over the connection that the last one has left, or a new
//! one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{sleep, timeout};

use super::limits::HEADERS_MAX;
use super::outward;
use super::retry::{self, Reason, TIME_MAX};
use super::service::Gateway;
use super::session::Broken;

/// How long a connection may take to be ready for the next request.
const READY: Duration = Duration::from_secs(1);
/// Longest time between a call that a kept answer can stand in for and its last attempt, connects
/// included: nobody waits long for what is there already.
const TIME_WITH_STALE: Duration = Duration::from_secs(2);

type OutBody = Either<Incoming, Full<Bytes>>;

/// What a request carries.
pub(super) enum Outgoing {
    /// It can be sent once.
    Once(Incoming),
    /// It can be sent again.
    Kept(Bytes),
}

/// The service's side of one client connection. No two clients share one.
pub(super) struct Attempts {
    gateway: Arc<Gateway>,
    to: SocketAddr,
    idle: Mutex<Option<SendRequest<OutBody>>>,
}

/// Why there is no answer.
enum Failure {
    Connect(std::io::Error),
    /// On a connection that had answered before: it may have been dead for long.
    Stale(hyper::Error),
    Broken(hyper::Error),
}

impl Attempts {
    pub(super) fn new(gateway: Arc<Gateway>, to: SocketAddr) -> Self {
        Self { gateway, to, idle: Mutex::default() }
    }

    /// The answer to a request, after as many attempts as it may have.
    pub(super) async fn call(
        &self,
        request: &Request<()>,
        body: Outgoing,
        begin: Instant,
        has_stale: bool,
    ) -> Result<Response<Incoming>, Broken> {
        let deadline = begin + if has_stale { TIME_WITH_STALE } else { TIME_MAX };
        let kept = match body {
            Outgoing::Kept(kept) => kept,
            Outgoing::Once(body) => {
                let request = request.clone().map(|()| Either::Left(body));
                return self.attempt(request, deadline).await.map_err(Failure::into_broken);
            }
        };
        let (mut attempt, mut was_stale) = (0, false);
        loop {
            let request = request.clone().map(|()| Either::Right(Full::new(kept.clone())));
            let result = self.attempt(request, deadline).await;
            let (reason, after) = match &result {
                // Its connects were repeated as often as they may be.
                Err(Failure::Connect(_)) => return result.map_err(Failure::into_broken),
                Err(Failure::Stale(_)) if !was_stale => {
                    was_stale = true;
                    continue;
                }
                Err(Failure::Stale(_) | Failure::Broken(_)) => (Reason::Broken, None),
                Ok(response) => match retry::reason(response.status()) {
                    Some(reason) => {
                        (reason, retry::retry_after(response.headers(), SystemTime::now()))
                    }
                    None => return result.map_err(Failure::into_broken),
                },
            };
            let delay = self.gateway.delay(reason, attempt, after, deadline);
            let Some(delay) = delay else { return result.map_err(Failure::into_broken) };
            tracing::debug!(
                service = self.gateway.service,
                to = %self.to,
                reason = reason.name(),
                ?delay,
                "asks again"
            );
            // Its connection goes with the answer that nobody reads.
            drop(result);
            attempt += 1;
            sleep(delay).await;
        }
    }

    /// Sends it once.
    async fn attempt(
        &self,
        mut request: Request<OutBody>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, Failure> {
        loop {
            let (mut sender, is_fresh) = match self.idle().await {
                Some(sender) => (sender, false),
                None => (self.open(deadline).await.map_err(Failure::Connect)?, true),
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    // Not a byte of it was sent: the connection was dead already.
                    Some(unsent) if !is_fresh => request = unsent,
                    _ if is_fresh => return Err(Failure::Broken(error.into_error())),
                    _ => return Err(Failure::Stale(error.into_error())),
                },
            }
        }
    }

    /// The connection that the last request has left, if it still is one.
    async fn idle(&self) -> Option<SendRequest<OutBody>> {
        let sender = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut sender = sender?;
        let ready = timeout(READY, sender.ready()).await;
        matches!(ready, Ok(Ok(()))).then_some(sender)
    }

    async fn open(&self, deadline: Instant) -> std::io::Result<SendRequest<OutBody>> {
        let stream = outward::connect(&self.gateway, self.to, deadline).await?;
        let (sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_headers(HEADERS_MAX)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the service ends badly");
            }
        });
        Ok(sender)
    }
}

impl Failure {
    fn into_broken(self) -> Broken {
        Broken(match self {
            Self::Connect(error) => error.to_string(),
            Self::Stale(error) | Self::Broken(error) => error.to_string(),
        })
    }
}
