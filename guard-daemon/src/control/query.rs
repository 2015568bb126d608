//! Which events a client wants. Used by the server for a stream and by the daemon for its
//! store, so that both mean the same.

use serde::{Deserialize, Serialize};

use super::api::EventRecord;

/// Query of `events`; every part may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Only events with a higher sequence number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most so many of those kept, the newest ones; new ones of a stream are not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Go on with each new event until one side hangs up.
    #[serde(default)]
    pub follow: bool,
    /// Only of this bulkhead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bulkhead: Option<String>,
    /// Only of this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

impl EventQuery {
    /// Whether the event is one of those asked for (`after` and the names; not `limit`).
    pub fn matches(&self, event: &EventRecord) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        event.seq > self.after.unwrap_or(0)
            && is(&self.bulkhead, &event.bulkhead)
            && is(&self.service, &event.service)
            && is(&self.kind, &event.kind)
    }

    /// The last `limit` (all without one) of the events that match, oldest first.
    pub fn select<'a>(
        &self,
        oldest_first: impl DoubleEndedIterator<Item = &'a EventRecord>,
    ) -> Vec<EventRecord> {
        let limit = self.limit.unwrap_or(usize::MAX);
        let mut found: Vec<EventRecord> =
            oldest_first.rev().filter(|event| self.matches(event)).take(limit).cloned().collect();
        found.reverse();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, bulkhead: &str, kind: &str) -> EventRecord {
        let text = format!(
            r#"{{"seq":{seq},"time":"2026-01-01T00:00:00Z","kind":"{kind}","bulkhead":"{bulkhead}"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_last_ones_that_match_oldest_first() {
        let events = [
            event(1, "a", "call"),
            event(2, "b", "call"),
            event(3, "a", "closed"),
            event(4, "a", "call"),
            event(5, "a", "call"),
        ];
        let seqs = |query: EventQuery| -> Vec<u64> {
            query.select(events.iter()).iter().map(|event| event.seq).collect()
        };
        assert_eq!(seqs(EventQuery::default()), [1, 2, 3, 4, 5]);
        let of_a = EventQuery {
            bulkhead: Some("a".into()),
            kind: Some("call".into()),
            ..EventQuery::default()
        };
        assert_eq!(seqs(of_a.clone()), [1, 4, 5]);
        assert_eq!(seqs(EventQuery { limit: Some(2), ..of_a.clone() }), [4, 5]);
        assert_eq!(seqs(EventQuery { after: Some(4), ..of_a }), [5]);
        assert_eq!(seqs(EventQuery { limit: Some(0), ..EventQuery::default() }), [0_u64; 0]);
    }
}
