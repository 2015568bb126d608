//! Clear-text HTTP/1.1 of one client connection: each request goes to the service that the agent asked
//! for, with its `Host`, and the answer comes back, both in pieces as they come. A call that fails in
//! the end is a reset, as it would be without a gateway, so that the breaker judges it alike.
//!
//! No answer in progress is ever ended for its silence.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use guard_common::logic::http::STALE_PHRASE;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version, header};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

use super::accept::{Stop, converse};
use super::attempts::{Attempts, Outgoing};
use super::cache::{Candidate, Key};
use super::counters::End;
use super::retry::{self, BODY_BYTES_MAX};
use super::service::Gateway;
use super::tee::Tee;
use super::wire::Wire;
use super::{headers, json, passthrough};
use crate::kernel::Asked;

type Body = Either<Tee, Full<Bytes>>;

/// The call has failed; what is left of the connection is reset.
#[derive(Debug, thiserror::Error)]
#[error("the service did not answer: {0}")]
pub(super) struct Broken(pub(super) String);

/// One client connection.
struct Session {
    gateway: Arc<Gateway>,
    asked: Asked,
    attempts: Attempts,
    /// Both ends of a connection that goes on in another protocol.
    upgraded: Mutex<Option<(OnUpgrade, OnUpgrade)>>,
}

/// Serves a connection to its end.
pub(super) async fn serve(
    wire: Wire,
    gateway: Arc<Gateway>,
    asked: Asked,
    stop: watch::Receiver<Stop>,
) {
    let attempts = Attempts::new(Arc::clone(&gateway), asked.destination);
    let session = Arc::new(Session { gateway, asked, attempts, upgraded: Mutex::default() });
    let answering = Arc::clone(&session);
    let service = service_fn(move |request| {
        let session = Arc::clone(&answering);
        async move { session.answer(request).await }
    });
    let ended = converse(wire, stop, Arc::new(service)).await;
    if let Err(error) = ended {
        tracing::debug!(service = session.gateway.service, %error, "a connection ends badly");
        return;
    }
    let upgraded = session.upgraded.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((client, service)) = upgraded
        && let (Ok(client), Ok(service)) = (client.await, service.await)
        && let Err(error) =
            passthrough::copy(&mut TokioIo::new(client), &mut TokioIo::new(service)).await
    {
        tracing::debug!(%error, "an upgraded connection breaks");
    }
}

impl Session {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
        let answered = self.try_answer(request).await;
        let end = match &answered {
            Ok((end, _)) => *end,
            Err(_) => End::Failed,
        };
        self.gateway.counters.end(end);
        answered.map(|(_, response)| response)
    }

    async fn try_answer(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<(End, Response<Body>), Broken> {
        let begin = Instant::now();
        self.gateway.budget().call(begin);
        let upgrade = headers::asks_for_upgrade(request.headers());
        let client_upgrade = upgrade.then(|| hyper::upgrade::on(&mut request));
        let (mut parts, body) = request.into_parts();
        headers::strip(&mut parts.headers, upgrade);
        parts.version = Version::HTTP_11;
        let bare = Request::from_parts(parts, ());
        let key = self.key(&bare);
        if self.asked.refused {
            return Ok(self.refused(key.as_ref(), &bare));
        }
        let is_repeatable = !upgrade
            && retry::is_repeatable(bare.method(), bare.headers(), body.size_hint().upper());
        let body =
            if is_repeatable { Outgoing::Kept(collect(body).await?) } else { Outgoing::Once(body) };
        let has_stale = self.stale(key.as_ref(), &bare).is_some();
        let answered = self.attempts.call(&bare, body, begin, has_stale).await;
        let failed = match &answered {
            Ok(response) => matches!(response.status().as_u16(), 500 | 502..=504),
            Err(_) => true,
        };
        if failed && let Some(stale) = self.stale(key.as_ref(), &bare) {
            return Ok((End::Stale, of_old(stale)));
        }
        let mut response = answered?;
        if !bare.method().is_safe()
            && !response.status().is_client_error()
            && !response.status().is_server_error()
            && let (Some(key), Some(mut cache)) = (&key, self.gateway.cache())
        {
            cache.forget(key);
        }
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switches && let Some(client) = client_upgrade {
            let service = hyper::upgrade::on(&mut response);
            *self.upgraded.lock().unwrap_or_else(PoisonError::into_inner) = Some((client, service));
        }
        headers::strip(response.headers_mut(), switches);
        *response.version_mut() = Version::HTTP_11;
        // Only the gateway itself says this.
        if response.extensions().get::<ReasonPhrase>() == Some(&STALE) {
            response.extensions_mut().remove::<ReasonPhrase>();
        }
        Ok((End::Answered, self.keep(key, &bare, response)))
    }

    /// What its answer is kept under.
    fn key(&self, request: &Request<()>) -> Option<Key> {
        self.gateway.options.plan.stale_if_error?;
        Some(Key {
            bulkhead: self.asked.bulkhead,
            port: self.asked.destination.port(),
            host: request.headers().get(header::HOST).cloned(),
            uri: request.uri().clone(),
        })
    }

    /// A kept answer to it.
    fn stale(&self, key: Option<&Key>, request: &Request<()>) -> Option<Response<Bytes>> {
        if request.method() != Method::GET {
            return None;
        }
        self.gateway.cache()?.stale(key?, request, SystemTime::now())
    }

    /// The breaker refuses calls: the service is not asked.
    fn refused(&self, key: Option<&Key>, request: &Request<()>) -> (End, Response<Body>) {
        if let Some(stale) = self.stale(key, request) {
            return (End::Stale, of_old(stale));
        }
        let why = format!(
            "the circuit breaker of service {} is open: it was not asked, and no kept answer fits",
            self.gateway.service
        );
        let help = "try again later; `guardctl breaker list` says when";
        let mut response = json::unavailable(&why, help);
        // The next call has a connect of its own, which the breaker judges.
        let close = header::HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        (End::Rejected, response.map(Either::Right))
    }

    /// Passes an answer on; a copy of it is kept if it may be.
    fn keep(
        &self,
        key: Option<Key>,
        request: &Request<()>,
        response: Response<Incoming>,
    ) -> Response<Body> {
        let (parts, body) = response.into_parts();
        let head = Response::from_parts(parts, ());
        let candidate = key.and_then(|key| Candidate::new(key, request, &head, SystemTime::now()));
        let tee = match candidate {
            Some(candidate) => Tee::keeping(body, &self.gateway, candidate),
            None => Tee::plain(body),
        };
        head.map(|()| Either::Left(tee))
    }
}

/// Tells the hooks that the service has failed: what the agent gets is no proof of its health.
const STALE: ReasonPhrase = ReasonPhrase::from_static(STALE_PHRASE.as_bytes());

/// A kept answer as it is sent. The connection ends with it, so that the breaker is asked before the next
/// call.
fn of_old(kept: Response<Bytes>) -> Response<Body> {
    let mut response = kept.map(|body| Either::Right(Full::new(body)));
    response.extensions_mut().insert(STALE);
    let close = header::HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// The whole of a small body.
async fn collect(body: Incoming) -> Result<Bytes, Broken> {
    let collected = Limited::new(body, BODY_BYTES_MAX as usize).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| Broken(error.to_string()))
}
