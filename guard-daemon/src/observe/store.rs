//! The last events, in memory, and those who follow them. Bounded: old events give way, and a
//! follower that does not read is dropped rather than waited for.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::{broadcast, mpsc};

use crate::control::api::{EventQuery, EventRecord};

/// Events kept.
const KEPT: usize = 10_000;
/// Events that a follower may lag behind.
const LAG: usize = 1_024;

/// The store.
pub struct EventStore {
    kept: Mutex<Kept>,
    live: broadcast::Sender<EventRecord>,
}

struct Kept {
    events: VecDeque<EventRecord>,
    next_seq: u64,
}

impl Default for EventStore {
    fn default() -> Self {
        Self {
            kept: Mutex::new(Kept { events: VecDeque::new(), next_seq: 1 }),
            live: broadcast::channel(LAG).0,
        }
    }
}

impl EventStore {
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds an event and gives it its number.
    pub fn push(&self, mut event: EventRecord) {
        let mut kept = self.lock();
        event.seq = kept.next_seq;
        kept.next_seq += 1;
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(event.clone());
        // Sent under the lock, so that followers see the numbers in order. No follower is no error.
        drop(self.live.send(event));
    }

    /// Adds an event of the daemon itself, with the time of now.
    pub fn note(&self, kind: &str, fill: impl FnOnce(&mut EventRecord)) {
        let mut event = EventRecord {
            time: jiff::Timestamp::now().to_string(),
            kind: kind.to_owned(),
            ..EventRecord::default()
        };
        fill(&mut event);
        self.push(event);
    }

    /// What the query selects of the events kept.
    pub fn select(&self, query: &EventQuery) -> Vec<EventRecord> {
        query.select(self.lock().events.iter())
    }

    /// The events kept that match, then each new one. The stream ends when its reader is gone or
    /// lags more than a thousand events behind.
    pub fn follow(&self, query: &EventQuery) -> mpsc::Receiver<EventRecord> {
        let (sender, receiver) = mpsc::channel(LAG);
        // Subscribed under the lock: no event is missed or doubled between the two parts.
        let (old, mut live) = {
            let kept = self.lock();
            (query.select(kept.events.iter()), self.live.subscribe())
        };
        tokio::spawn(async move {
            for event in old {
                if sender.send(event).await.is_err() {
                    return;
                }
            }
            while let Ok(event) = live.recv().await {
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_gap_and_old_events_give_way() {
        let store = EventStore::default();
        for _ in 0..KEPT + 5 {
            store.note("call", |_| {});
        }
        let all = store.select(&EventQuery::default());
        assert_eq!(all.len(), KEPT);
        assert!(all.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
        assert_eq!(all[0].seq, 6);
    }

    #[tokio::test]
    async fn a_follower_gets_old_and_new_events_once() {
        let store = EventStore::default();
        store.note("first", |_| {});
        let mut stream = store.follow(&EventQuery::default());
        store.note("second", |_| {});
        let kinds = [stream.recv().await.unwrap().kind, stream.recv().await.unwrap().kind];
        assert_eq!(kinds, ["first", "second"]);
    }
}
