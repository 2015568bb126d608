//! Slots of limits as `status` shows them.

use guard_common::abi::ids::PairKey;
use guard_common::abi::limits::{LimitSlot, RETRIES_UNLIMITED, SERVICE_ALL, WHY_NAMES};
use guard_common::abi::pacing::{PACE_EDT, PACE_NFQUEUE};
use guard_common::logic::retry;

use crate::control::api::LimitStatus;
use crate::plan::Ids;

const NS_PER_SECOND: f64 = 1e9;

/// What one slot says at `now_ns` (boottime).
pub fn limit_status(pair: PairKey, slot: &LimitSlot, ids: &Ids, now_ns: u64) -> LimitStatus {
    let window_ns = retry::window_ns(slot.retry_window_ns);
    let rejected = WHY_NAMES.iter().zip(slot.rejected).filter(|(_, count)| *count > 0);
    LimitStatus {
        service: (pair.service != SERVICE_ALL).then(|| ids.service_name(pair.service).to_owned()),
        connections: slot.connections,
        max_connections: (slot.max_connections > 0).then_some(slot.max_connections),
        retries: retry::made(slot.window, now_ns, window_ns),
        max_retries: (slot.max_retries != RETRIES_UNLIMITED).then_some(slot.max_retries),
        retry_window_seconds: window_ns as f64 / NS_PER_SECOND,
        retries_total: slot.retries,
        rejected: rejected.map(|(why, count)| ((*why).to_owned(), count)).collect(),
        would_have: slot.would_have + slot.pace_would,
        blocked: slot.blocked != 0,
        max_calls_per_second: (slot.pace_interval_ns > 0)
            .then(|| (NS_PER_SECOND / slot.pace_interval_ns as f64 * 1e3).round() / 1e3),
        pacing_engine: match slot.pace_engine {
            PACE_EDT => Some("edt".to_owned()),
            PACE_NFQUEUE => Some("nfqueue".to_owned()),
            _ => None,
        },
        paced: slot.paced,
        pacing_delay_seconds: slot.paced_ns as f64 / NS_PER_SECOND,
        pacing_over: slot.pace_over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_limited_and_never_happened_is_left_out() {
        let ids = Ids::default();
        let slot = LimitSlot { max_retries: RETRIES_UNLIMITED, ..LimitSlot::default() };
        let whole = PairKey { bulkhead: 1, service: SERVICE_ALL };
        let status = limit_status(whole, &slot, &ids, 1);
        assert!(!status.says_something(), "{status:?}");
        assert_eq!((status.service, status.max_connections), (None, None));
        let slot = LimitSlot { rejected: [0, 2, 0, 0], ..slot };
        let status = limit_status(PairKey { bulkhead: 1, service: 0 }, &slot, &ids, 1);
        assert_eq!((status.rejected["retries"], status.rejected.len()), (2, 1));
        assert_eq!(status.service.as_deref(), Some("other"));
    }
}
