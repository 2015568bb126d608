//! Keeps names resolved: asks again before an answer ends, tells what changed, and keeps what it
//! knew while the servers fail. One small task per name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Answer, Resolver};

/// First and longest wait after a failure; doubled in between.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_mins(1);
/// Failures of one name are told at most this often.
const TELL_AGAIN: Duration = Duration::from_mins(1);
/// Updates that wait for the receiver before the tasks wait for it.
const CHANNEL_LENGTH: usize = 256;

/// News of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// These are its addresses from now on (the whole set, sorted, never empty).
    Addresses {
        /// Name.
        name: String,
        /// Addresses.
        addresses: Vec<IpAddr>,
    },
    /// It cannot be resolved; what was known stays. Told at the first failure, then at most once
    /// a minute.
    Failing {
        /// Name.
        name: String,
        /// Why, with the cure.
        error: String,
        /// How many addresses are known from before.
        kept: usize,
        /// Until the next try.
        next_try: Duration,
    },
    /// It can be resolved again, after a `Failing`.
    Recovered {
        /// Name.
        name: String,
    },
}

/// Follows a set of names. Dropping it ends that.
#[derive(Debug)]
pub struct Tracker {
    resolver: Arc<Resolver>,
    sender: mpsc::Sender<Update>,
    tasks: BTreeMap<String, JoinHandle<()>>,
}

impl Tracker {
    /// Begins to follow `names`. Must be called within a tokio runtime.
    pub fn start(
        resolver: Arc<Resolver>,
        names: impl IntoIterator<Item = String>,
    ) -> (Self, mpsc::Receiver<Update>) {
        let (sender, receiver) = mpsc::channel(CHANNEL_LENGTH);
        let mut tracker = Self { resolver, sender, tasks: BTreeMap::new() };
        tracker.set_names(names);
        (tracker, receiver)
    }

    /// Follows these names from now on. Those that were followed before go on undisturbed (and
    /// are not told again); an update of a dropped one may still be in the channel. Must be
    /// called within a tokio runtime.
    pub fn set_names(&mut self, names: impl IntoIterator<Item = String>) {
        let names: BTreeSet<String> = names.into_iter().collect();
        self.tasks.retain(|name, task| {
            let keep = names.contains(name);
            if !keep {
                task.abort();
            }
            keep
        });
        for name in names {
            let (resolver, sender) = (Arc::clone(&self.resolver), self.sender.clone());
            self.tasks.entry(name).or_insert_with_key(|name| {
                tokio::spawn(Follower::new(name.clone()).run(resolver, sender))
            });
        }
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

/// What is known of one name.
struct Follower {
    name: String,
    known: Vec<IpAddr>,
    failures: u32,
    told_at: Option<Instant>,
}

impl Follower {
    fn new(name: String) -> Self {
        Self { name, known: Vec::new(), failures: 0, told_at: None }
    }

    /// Runs until nobody listens any more.
    async fn run(mut self, resolver: Arc<Resolver>, sender: mpsc::Sender<Update>) {
        loop {
            let (updates, wait) = match resolver.resolve(&self.name).await {
                Ok(answer) => self.succeeded(answer, Instant::now()),
                Err(error) => self.failed(error.to_string(), Instant::now()),
            };
            for update in updates {
                if sender.send(update).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// What to tell after an answer, and until when to wait.
    fn succeeded(&mut self, answer: Answer, now: Instant) -> (Vec<Update>, Duration) {
        let mut updates = Vec::new();
        let wait = answer.valid_until.saturating_duration_since(now).mul_f64(0.9);
        let mut addresses = answer.addresses;
        if answer.incomplete.is_some() {
            // The family that could not be asked for keeps what it had.
            let lacks = |v6: bool| !addresses.iter().any(|a| a.is_ipv6() == v6);
            let (lacks_v4, lacks_v6) = (lacks(false), lacks(true));
            let kept = self.known.iter().filter(|a| if a.is_ipv6() { lacks_v6 } else { lacks_v4 });
            addresses.extend(kept);
            addresses.sort_unstable();
        }
        if addresses != self.known {
            self.known.clone_from(&addresses);
            updates.push(Update::Addresses { name: self.name.clone(), addresses });
        }
        self.failures = 0;
        match answer.incomplete {
            Some(reason) => updates.extend(self.tell(reason, wait, now)),
            None if self.told_at.take().is_some() => {
                updates.push(Update::Recovered { name: self.name.clone() });
            }
            None => {}
        }
        (updates, wait)
    }

    /// What to tell after a failure, and until when to wait.
    fn failed(&mut self, error: String, now: Instant) -> (Vec<Update>, Duration) {
        let wait = MIN_BACKOFF.saturating_mul(1 << self.failures.min(16)).min(MAX_BACKOFF);
        self.failures += 1;
        (self.tell(error, wait, now).into_iter().collect(), wait)
    }

    fn tell(&mut self, error: String, next_try: Duration, now: Instant) -> Option<Update> {
        if self.told_at.is_some_and(|at| now.saturating_duration_since(at) < TELL_AGAIN) {
            return None;
        }
        self.told_at = Some(now);
        let (name, kept) = (self.name.clone(), self.known.len());
        Some(Update::Failing { name, error, kept, next_try })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(addresses: &[&str], ttl_seconds: u64, incomplete: bool, now: Instant) -> Answer {
        Answer {
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            valid_until: now + Duration::from_secs(ttl_seconds),
            incomplete: incomplete.then(|| "IPv6 addresses: no".to_owned()),
        }
    }

    #[test]
    fn failures_back_off_and_are_told_once_a_minute() {
        let mut follower = Follower::new("a.test".to_owned());
        let mut now = Instant::now();
        follower.succeeded(answer(&["127.0.0.1"], 10, false, now), now);
        let (mut waits, mut told) = (Vec::new(), Vec::new());
        for round in 0..9 {
            let (updates, wait) = follower.failed("no".to_owned(), now);
            waits.push(wait.as_secs());
            if let [Update::Failing { kept, .. }] = &updates[..] {
                assert_eq!(*kept, 1);
                told.push(round);
            }
            now += wait;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        // After 0, 63, 123, 183 s.
        assert_eq!(told, [0, 6, 7, 8]);
        let (updates, wait) = follower.succeeded(answer(&["127.0.0.1"], 10, false, now), now);
        assert_eq!(updates, [Update::Recovered { name: "a.test".to_owned() }]);
        assert_eq!(wait, Duration::from_secs(9), "90 % of the TTL");
        assert_eq!(follower.failed("no".to_owned(), now).1, MIN_BACKOFF, "starts anew");
    }

    #[test]
    fn a_family_that_cannot_be_asked_for_keeps_its_addresses() {
        let mut follower = Follower::new("a.test".to_owned());
        let now = Instant::now();
        follower.succeeded(answer(&["127.0.0.1", "::1"], 10, false, now), now);
        let (updates, _) = follower.succeeded(answer(&["127.0.0.2"], 10, true, now), now);
        assert!(matches!(
            &updates[..],
            [Update::Addresses { addresses, .. }, Update::Failing { kept: 2, .. }]
                if *addresses == ["127.0.0.2", "::1"].map(|a| a.parse::<IpAddr>().unwrap())
        ));
        let (updates, _) = follower.succeeded(answer(&["127.0.0.2"], 10, false, now), now);
        assert_eq!(updates.len(), 2, "now it is known to have none: {updates:?}");
    }
}
