//! Whether a fallback answers: a TCP connect by guardd, from time to time, and nothing more. A place
//! that accepts connections and answers nonsense is a healthy one here.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use guard_common::abi::ids::PairKey;

use super::super::state::{Guard, State};
use crate::plan::Fallback;

/// How long a place may take to accept.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often places are tried while a breaker of the service is not CLOSED.
const WHILE_NEEDED: Duration = Duration::from_secs(1);
/// Pause between two looks at what is due.
const PAUSE: Duration = Duration::from_millis(200);
/// Services whose places are tried at once.
const AT_ONCE: usize = 16;

/// One service that is due.
struct Due {
    service: String,
    places: Vec<SocketAddr>,
}

impl Guard {
    /// Tries fallbacks until the order to stop.
    pub(in crate::daemon) fn check_fallbacks_until(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let (due, written) = {
                let mut state = self.lock();
                (self.due(&mut state), state.fallbacks.written)
            };
            for group in due.chunks(AT_ONCE) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                self.try_places(group);
            }
            if !due.is_empty() || !written {
                let mut state = self.lock();
                if let Err(error) = state.write_fallbacks(&self.ids) {
                    tracing::error!(%error, "fallbacks did not reach the kernel");
                }
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    /// Services that are to be tried now.
    fn due(&self, state: &mut State) -> Vec<Due> {
        let now = Instant::now();
        let mut due = Vec::new();
        for service in &state.plan.services {
            let addresses = service.fallback.places.iter().filter_map(|place| match place {
                Fallback::Address(address) => Some(*address),
                Fallback::Static(_) => None,
            });
            let places: Vec<_> = addresses.collect();
            if places.is_empty() {
                continue;
            }
            let every = if self.is_needed(state, &service.name) {
                WHILE_NEEDED.min(service.fallback.check_every)
            } else {
                service.fallback.check_every
            };
            let tried = state.fallbacks.tried.get(&service.name);
            if tried.is_none_or(|tried| now.duration_since(*tried) >= every) {
                due.push(Due { service: service.name.clone(), places });
            }
        }
        for due in &due {
            state.fallbacks.tried.insert(due.service.clone(), now);
        }
        due
    }

    /// Whether some bulkhead uses the fallback of a service, or would if there were one.
    fn is_needed(&self, state: &State, service: &str) -> bool {
        let id = crate::observe::with_ids(&self.ids, |ids| ids.service_id(service));
        let Some(id) = id else { return false };
        state.fallbacks.switched.get(service) == Some(&true)
            || state.bulkheads.values().any(|live| {
                let pair = PairKey { bulkhead: live.id, service: id };
                super::seen::refuses(state, pair)
            })
    }

    fn try_places(&self, group: &[Due]) {
        let results: Vec<Vec<SocketAddr>> = std::thread::scope(|scope| {
            let threads: Vec<_> = group
                .iter()
                .map(|due| scope.spawn(|| due.places.iter().copied().filter(answers).collect()))
                .collect();
            // A panic there is a place that does not answer.
            threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
        });
        let mut state = self.lock();
        for (due, answering) in group.iter().zip(results) {
            let before = state.fallbacks.answering.insert(due.service.clone(), answering.clone());
            if before.as_ref() == Some(&answering) {
                continue;
            }
            let (service, all) = (&due.service, due.places.len());
            if answering.is_empty() {
                tracing::warn!(
                    service,
                    "no fallback answers: calls are refused while the breaker is open"
                );
                self.events.note("fallback_down", |event| {
                    event.service.clone_from(service);
                    event.message = format!("none of {all} answers");
                });
            } else if before.is_some() {
                tracing::info!(service, ?answering, "fallbacks that answer");
                self.events.note("fallback_up", |event| {
                    event.service.clone_from(service);
                    let list: Vec<_> = answering.iter().map(ToString::to_string).collect();
                    event.message = format!("{} of {all} answer: {}", list.len(), list.join(", "));
                });
            }
        }
    }
}

fn answers(place: &SocketAddr) -> bool {
    TcpStream::connect_timeout(place, PATIENCE).is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_answers_and_a_closed_port_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(answers(&address));
        drop(listener);
        assert!(!answers(&address));
    }
}
