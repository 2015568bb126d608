//! What the breaker of a (bulkhead, service) does: each setting from the bulkhead's own table, else
//! from `[defaults.breaker]`, else from the service's class, else guard's default. Plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::errno::Errno;

use super::ServiceClass;

/// Whether a breaker acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerMode {
    /// Judge, and refuse while OPEN.
    Enforce,
    /// Judge, and count what would have been refused.
    Monitor,
    /// Refuse every call.
    ForceOpen,
    /// Refuse none, never trip.
    ForceClosed,
    /// Keep no state.
    Off,
}

/// What becomes of pooled connections when a breaker opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpenPool {
    /// They stay.
    Keep,
    /// Those that wait for no answer are destroyed.
    CutIdle,
    /// All are destroyed.
    CutAll,
}

/// What becomes of a call while the breaker is OPEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpenAction {
    /// It fails at once.
    Refuse,
    /// Its connect waits for the breaker to close.
    Hold,
}

/// Each setting once: for a breaker's settings as a whole, and as far as somebody has said something.
macro_rules! settings {
    ($($(#[$doc:meta])+ $field:ident: $kind:ty,)+) => {
        /// Settings of one breaker, whole.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct BreakerPlan {
            $($(#[$doc])+ pub $field: $kind,)+
        }

        /// Settings as far as somebody has said something.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct BreakerSettings {
            $($(#[$doc])+ pub $field: Option<$kind>,)+
        }

        impl BreakerSettings {
            /// What is said here, and for the rest `base`.
            fn over(&self, base: BreakerPlan) -> BreakerPlan {
                BreakerPlan { $($field: self.$field.unwrap_or(base.$field),)+ }
            }
        }
    };
}

settings! {
    /// Failures in a row that trip it, up to 255; 0 = none do.
    failure_threshold: u32,
    /// Trips below this share of successes (0 to 1) over `window`; 0 = never.
    success_rate_below: f64,
    /// An answer that took at least this long is slow; zero = none is.
    slow_after: Duration,
    /// Trips from this share of slow calls over `window` on.
    slow_share: f64,
    /// A call that the agent gives up after this long is a failure; zero = none is.
    abandoned_after: Duration,
    /// The sliding window.
    window: Duration,
    /// Calls that the window must hold before its rule applies.
    min_calls: u32,
    /// Time OPEN after the first trip, at most a day.
    open_timeout: Duration,
    /// Factor for each further trip, 1 to 16.
    backoff: f64,
    /// Longest time OPEN that `backoff` leads to; never below `open_timeout`.
    max_open_timeout: Duration,
    /// Longest time that the service may ask to be left alone for; zero = it is not asked.
    max_retry_after: Duration,
    /// The time OPEN varies by up to ± this share of itself.
    jitter: f64,
    /// Probes at once, 1 to 15.
    half_open_calls: u32,
    /// What a refused call gets.
    errno: Errno,
    /// What becomes of pooled connections when it opens.
    open_pool: OpenPool,
    /// What becomes of calls while it is OPEN.
    open_action: OpenAction,
    /// Longest wait of a held connect.
    hold_max: Duration,
    /// Whether it acts.
    mode: BreakerMode,
}

/// All that the configuration says of breakers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BreakerRules {
    /// `[defaults.breaker]`.
    pub defaults: BreakerSettings,
    /// `breaker.services.NAME` of bulkheads, by (bulkhead, service).
    pub of_pairs: BTreeMap<(String, String), BreakerSettings>,
}

/// The longest time OPEN that the kernel's word holds.
const DAY: Duration = Duration::from_hours(24);

impl ServiceClass {
    /// The class's own settings. The evidence: `guardctl explain CLASS`.
    pub const fn breaker(self) -> BreakerPlan {
        let generic = BreakerPlan {
            failure_threshold: 5,
            success_rate_below: 0.0,
            slow_after: Duration::ZERO,
            slow_share: 0.5,
            abandoned_after: Duration::from_secs(5),
            window: Duration::from_mins(1),
            min_calls: 10,
            open_timeout: Duration::from_mins(1),
            backoff: 1.0,
            max_open_timeout: DAY,
            // As Envoy bounds the resets of rate limits.
            max_retry_after: Duration::from_mins(5),
            jitter: 0.0,
            half_open_calls: 1,
            errno: Errno::ECONNREFUSED,
            open_pool: OpenPool::Keep,
            open_action: OpenAction::Refuse,
            hold_max: Duration::from_secs(4),
            mode: BreakerMode::Enforce,
        };
        let tool = BreakerPlan {
            success_rate_below: 0.5,
            min_calls: 5,
            open_timeout: Duration::from_secs(5),
            backoff: 2.0,
            max_open_timeout: Duration::from_mins(1),
            jitter: 0.2,
            ..generic
        };
        // Their clients count attempts and then give up for good.
        let held = BreakerPlan { open_action: OpenAction::Hold, ..tool };
        match self {
            Self::Generic => generic,
            Self::LlmLocal => BreakerPlan { mode: BreakerMode::Off, ..generic },
            Self::Tool => tool,
            Self::Mcp => BreakerPlan { abandoned_after: Duration::from_secs(30), ..held },
            Self::Llm => BreakerPlan { abandoned_after: Duration::from_mins(1), ..held },
        }
    }

    /// How long a call may stay without an answer, where the bulkhead does not say.
    pub const fn call_timeout(self) -> Option<Duration> {
        match self {
            Self::Generic | Self::Mcp => None,
            Self::Tool => Some(Duration::from_mins(30)),
            Self::Llm => Some(Duration::from_hours(1)),
            Self::LlmLocal => Some(Duration::from_hours(2)),
        }
    }
}

impl BreakerRules {
    /// The breaker of a pair.
    pub fn of(&self, bulkhead: &str, service: &str, class: ServiceClass) -> BreakerPlan {
        let mut plan = self.defaults.over(class.breaker());
        if let Some(own) = self.of_pairs.get(&(bulkhead.to_owned(), service.to_owned())) {
            plan = own.over(plan);
        }
        plan.open_timeout = plan.open_timeout.min(DAY);
        plan.max_open_timeout = plan.max_open_timeout.clamp(plan.open_timeout, DAY);
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_counts() {
        let mut rules = BreakerRules {
            defaults: BreakerSettings { failure_threshold: Some(7), ..Default::default() },
            ..Default::default()
        };
        let own = BreakerSettings {
            failure_threshold: Some(3),
            errno: Some(Errno::EHOSTUNREACH),
            ..Default::default()
        };
        rules.of_pairs.insert(("research".into(), "github".into()), own);
        let near = rules.of("research", "github", ServiceClass::Generic);
        assert_eq!((near.failure_threshold, near.errno), (3, Errno::EHOSTUNREACH));
        assert_eq!(near.open_timeout, Duration::from_mins(1), "guard's own default");
        let far = rules.of("writing", "github", ServiceClass::Tool);
        assert_eq!((far.failure_threshold, far.errno), (7, Errno::ECONNREFUSED));
        assert_eq!((far.open_timeout, far.backoff), (Duration::from_secs(5), 2.0), "its class's");
    }

    #[test]
    fn a_long_time_open_raises_the_limit_of_the_class() {
        let defaults =
            BreakerSettings { open_timeout: Some(Duration::from_mins(5)), ..Default::default() };
        let rules = BreakerRules { defaults, ..Default::default() };
        let plan = rules.of("b", "s", ServiceClass::Llm);
        assert_eq!(plan.max_open_timeout, Duration::from_mins(5));
    }
}
