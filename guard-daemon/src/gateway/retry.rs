//! Which calls may be repeated, after which failures, how soon, and how many in all. It asks and
//! waits for nothing itself.

use std::time::{Duration, Instant, SystemTime};

use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::{Method, StatusCode};

use crate::plan::{RetryBudgetPlan, RetryPolicyPlan};

/// Longest time between a call and its last attempt: clients wait too.
pub(super) const TIME_MAX: Duration = Duration::from_secs(10);
/// Largest body of a request that is kept for a repetition.
pub(super) const BODY_BYTES_MAX: u64 = 64 * 1_024;
/// Window of the budget.
const WINDOW: Duration = Duration::from_secs(10);

/// Why a call is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No connection could be made.
    Connect,
    /// The connection broke before an answer.
    Broken,
    /// 502, 503 or 504.
    ServerError,
    /// 429.
    Throttled,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Broken, Self::ServerError, Self::Throttled];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::ServerError => "server_error",
            Self::Throttled => "throttled",
        }
    }
}

/// Whether a request may reach the service twice: its method says so, or its client does with an
/// `Idempotency-Key`; and what it carries is small enough to be kept.
pub(super) fn is_repeatable(method: &Method, headers: &HeaderMap, body_bytes: Option<u64>) -> bool {
    let idempotent = matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    );
    let said = headers.contains_key("idempotency-key");
    (idempotent || said) && body_bytes.is_some_and(|bytes| bytes <= BODY_BYTES_MAX)
}

/// Why an answer is worth another attempt; `None` = it is not.
pub(super) fn reason(status: StatusCode) -> Option<Reason> {
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Some(Reason::ServerError)
        }
        StatusCode::TOO_MANY_REQUESTS => Some(Reason::Throttled),
        _ => None,
    }
}

/// What the service says itself.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// The policies that are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    /// For connections that fail and for 5xx.
    pub network_error: RetryPolicyPlan,
    /// For 429.
    pub rate_limit: RetryPolicyPlan,
}

impl Policies {
    /// Delay before retry `attempt` (from 0); `None` = it is given up.
    pub(super) fn delay(
        &self,
        reason: Reason,
        attempt: u32,
        retry_after: Option<Duration>,
        seed: u64,
    ) -> Option<Duration> {
        let policy = match reason {
            Reason::Throttled => &self.rate_limit,
            Reason::Connect | Reason::Broken | Reason::ServerError => &self.network_error,
        };
        let delay = policy.delay(attempt, seed)?;
        Some(retry_after.unwrap_or(delay))
    }
}

/// How many retries a service gets: a share of its calls, and a few, so that a service that is down is
/// not asked many times as often as one that is well.
#[derive(Debug)]
pub(super) struct Budget {
    plan: RetryBudgetPlan,
    begin: Instant,
    calls: u32,
    calls_before: u32,
    retries: u32,
}

impl Budget {
    pub(super) fn new(plan: RetryBudgetPlan, now: Instant) -> Self {
        Self { plan, begin: now, calls: 0, calls_before: 0, retries: 0 }
    }

    fn turn(&mut self, now: Instant) {
        let passed = now.duration_since(self.begin);
        if passed < WINDOW {
            return;
        }
        self.calls_before = if passed < 2 * WINDOW { self.calls } else { 0 };
        (self.begin, self.calls, self.retries) = (now, 0, 0);
    }

    /// A call, no retry of one.
    pub(super) fn call(&mut self, now: Instant) {
        self.turn(now);
        self.calls = self.calls.saturating_add(1);
    }

    /// Whether one more retry is in the budget; takes it.
    pub(super) fn retry(&mut self, now: Instant) -> bool {
        self.turn(now);
        let calls = f64::from(self.calls.max(self.calls_before));
        let most = self.plan.share * calls + self.plan.min_per_second * WINDOW.as_secs_f64();
        let is_left = f64::from(self.retries) + 1.0 <= most;
        self.retries += u32::from(is_left);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_side_effects_is_never_repeated() {
        let none = HeaderMap::new();
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
            assert!(is_repeatable(&method, &none, Some(0)), "{method}");
            assert!(!is_repeatable(&method, &none, None), "{method}: of unknown length");
            assert!(!is_repeatable(&method, &none, Some(BODY_BYTES_MAX + 1)), "{method}");
        }
        let mut keyed = HeaderMap::new();
        keyed.insert("idempotency-key", "1".parse().unwrap());
        for method in [Method::POST, Method::PATCH, Method::from_bytes(b"PURGE").unwrap()] {
            assert!(!is_repeatable(&method, &none, Some(0)), "{method}");
            assert!(is_repeatable(&method, &keyed, Some(0)), "{method}");
        }
    }

    #[test]
    fn retry_after_in_both_forms() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            let now = httpdate::parse_http_date("Fri, 27 Nov 2026 12:00:00 GMT").unwrap();
            retry_after(&headers, now)
        };
        assert_eq!(of("2"), Some(Duration::from_secs(2)));
        assert_eq!(of("Fri, 27 Nov 2026 12:00:07 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(of("Fri, 27 Nov 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!((of("soon"), of("-1"), of("1.5")), (None, None, None));
    }

    #[test]
    fn the_budget_is_a_share_of_the_calls_and_a_few() {
        let start = Instant::now();
        let taken = |budget: &mut Budget, now| (0..1_000).filter(|_| budget.retry(now)).count();
        let plan = RetryBudgetPlan { share: 0.2, min_per_second: 0.3 };
        let mut budget = Budget::new(plan, start);
        assert_eq!(taken(&mut budget, start), 3);
        (0..100).for_each(|_| budget.call(start));
        assert_eq!(taken(&mut budget, start), 20, "23 with the 3 before");
        // The next window goes by the calls of the one before it until it has more.
        let next = start + WINDOW;
        assert_eq!(taken(&mut budget, next), 23);
        assert_eq!(taken(&mut budget, start + 5 * WINDOW), 3);
        let mut none = Budget::new(RetryBudgetPlan { share: 0.0, min_per_second: 0.0 }, start);
        assert_eq!(taken(&mut none, start), 0);
    }
}
