//! Answers that are kept for the time when their service fails (RFC 5861, `stale-if-error`), by the
//! rules of RFC 9111. While the service answers, nothing of it is ever given out.
//!
//! Kept for each bulkhead by itself, so that no agent gets what another has asked for; bounded in
//! bytes, and the least recently used make room.

use std::time::{Duration, SystemTime};

use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use hyper::body::Bytes;
use hyper::header::{AGE, AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::{Method, Request, Response, StatusCode, Uri, header};
use lru::LruCache;

/// Largest answer that is kept, whatever the cache's size.
const ANSWER_BYTES_MAX: u64 = 4 * 1_024 * 1_024;
/// Share of the cache that one answer may take.
const ANSWER_SHARE: u64 = 4;
/// Answers of one key that differ in what `Vary` names.
const VARIANTS_MAX: usize = 8;
/// What an answer takes besides its body and its headers.
const OVERHEAD_BYTES: u64 = 1_024;

/// What an answer is kept under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Whose it is.
    pub(super) bulkhead: u32,
    /// Port that was asked.
    pub(super) port: u16,
    /// `Host` of the request.
    pub(super) host: Option<HeaderValue>,
    /// Its target.
    pub(super) uri: Uri,
}

/// One answer.
#[derive(Clone, Debug)]
struct Kept {
    policy: CachePolicy,
    headers: HeaderMap,
    body: Bytes,
    stale_from: SystemTime,
    /// How long it may be used after that.
    grace: Duration,
    bytes: u64,
}

/// A request and its answer that may be kept once the answer's body is there.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    key: Key,
    request: Request<()>,
    policy: CachePolicy,
    headers: HeaderMap,
    now: SystemTime,
}

/// The cache of one service.
#[derive(Debug)]
pub(super) struct Cache {
    kept: LruCache<Key, Vec<Kept>>,
    bytes: u64,
    bytes_max: u64,
    grace: Duration,
}

impl Cache {
    /// An empty one of at most `bytes_max` bytes, whose answers may be used for `grace` after they have
    /// become stale.
    pub(super) fn new(bytes_max: u64, grace: Duration) -> Self {
        Self { kept: LruCache::unbounded(), bytes: 0, bytes_max, grace }
    }

    /// Longest body that is kept.
    pub(super) fn body_bytes_max(&self) -> u64 {
        ANSWER_BYTES_MAX.min(self.bytes_max / ANSWER_SHARE)
    }

    /// Keeps an answer.
    pub(super) fn keep(&mut self, candidate: Candidate, body: Bytes) {
        let Candidate { key, request, policy, headers, now } = candidate;
        let of = |headers: &HeaderMap| {
            headers.iter().map(|(k, v)| k.as_str().len() + v.len()).sum::<usize>() as u64
        };
        // The policy has copies of both.
        let of_headers = 2 * of(&headers) + of(request.headers());
        let bytes = body.len() as u64 + OVERHEAD_BYTES + of_headers;
        if body.len() as u64 > self.body_bytes_max() || bytes > self.bytes_max {
            return;
        }
        let stale_from = now + policy.time_to_live(now);
        let grace = grace(&headers, self.grace);
        let kept = Kept { policy, headers, body, stale_from, grace, bytes };
        let mut variants = self.kept.pop(&key).unwrap_or_default();
        let before: u64 = variants.iter().map(|kept| kept.bytes).sum();
        // The newer one stands in the place of the older one for the same request.
        variants.retain(|older| !matches(&older.policy, &request, now));
        variants.insert(0, kept);
        variants.truncate(VARIANTS_MAX);
        let after: u64 = variants.iter().map(|kept| kept.bytes).sum();
        self.bytes = self.bytes + after - before;
        self.kept.push(key, variants);
        while self.bytes > self.bytes_max {
            let Some((_, gone)) = self.kept.pop_lru() else { break };
            self.bytes -= gone.iter().map(|kept| kept.bytes).sum::<u64>();
        }
    }

    /// The answer to a request whose service fails, marked with its age.
    pub(super) fn stale(
        &mut self,
        key: &Key,
        request: &Request<()>,
        now: SystemTime,
    ) -> Option<Response<Bytes>> {
        if directives(request.headers()).any(|(name, _)| name == "no-cache" || name == "no-store") {
            return None;
        }
        let kept = self.kept.get(key)?.iter().find(|kept| kept.fits(request, now))?;
        let mut response = Response::new(kept.body.clone());
        *response.headers_mut() = kept.headers.clone();
        let age = kept.policy.age(now).as_secs();
        let headers = response.headers_mut();
        headers.insert(AGE, HeaderValue::from(age));
        headers.insert(super::STALE_HEADER, HeaderValue::from(age));
        Some(response)
    }

    /// A request may have changed what the key stands for (RFC 9111, 4.4).
    pub(super) fn forget(&mut self, key: &Key) {
        if let Some(gone) = self.kept.pop(key) {
            self.bytes -= gone.iter().map(|kept| kept.bytes).sum::<u64>();
        }
    }
}

impl Kept {
    fn fits(&self, request: &Request<()>, now: SystemTime) -> bool {
        let late = now.duration_since(self.stale_from).unwrap_or_default();
        matches(&self.policy, request, now) && (late.is_zero() || late <= self.grace)
    }
}

/// Whether an answer is one to this request, what `Vary` names included.
fn matches(policy: &CachePolicy, request: &Request<()>, now: SystemTime) -> bool {
    match policy.before_request(request, now) {
        BeforeRequest::Fresh(_) => true,
        BeforeRequest::Stale { matches, .. } => matches,
    }
}

impl Candidate {
    /// What may be kept of this answer; `None` = nothing. Headers for one connection are stripped
    /// already.
    pub(super) fn new(
        key: Key,
        request: &Request<()>,
        response: &Response<()>,
        now: SystemTime,
    ) -> Option<Self> {
        let headers = response.headers();
        let says = |wanted: &str| directives(headers).any(|(name, _)| name == wanted);
        let is_stream = headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.to_str().is_ok_and(|kind| kind.starts_with("text/event-stream"))
        });
        if request.method() != Method::GET
            || response.status() != StatusCode::OK
            || is_stream
            || headers.contains_key(SET_COOKIE)
            // Stricter than RFC 9111, which takes must-revalidate for a permission too.
            || (request.headers().contains_key(AUTHORIZATION)
                && !(says("public") || says("s-maxage")))
        {
            return None;
        }
        let policy = CachePolicy::new_options(request, response, now, CacheOptions::default());
        if !policy.is_storable() {
            return None;
        }
        let (request, headers) = (request.clone(), headers.clone());
        Some(Self { key, request, policy, headers, now })
    }
}

/// How long an answer may be used after it has become stale: what the operator allows, and never what
/// the answer forbids (RFC 9111, 4.2.4) or more than it allows itself.
fn grace(headers: &HeaderMap, allowed: Duration) -> Duration {
    let mut grace = allowed;
    for (name, value) in directives(headers) {
        match name.as_str() {
            "no-cache" | "must-revalidate" | "proxy-revalidate" | "s-maxage" => {
                return Duration::ZERO;
            }
            "stale-if-error" => {
                let seconds = value.parse().unwrap_or(0);
                grace = grace.min(Duration::from_secs(seconds));
            }
            _ => {}
        }
    }
    grace
}

/// Directives of `Cache-Control`, in lower case, with their values.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned())
    })
}

#[cfg(test)]
mod tests;
