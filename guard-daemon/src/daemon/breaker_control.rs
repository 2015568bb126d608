//! Breakers as the operator sees and changes them.

use guard_common::abi::breaker::{
    PROBE_FAILED, PROBE_GIVEN_BACK, PROBE_SUCCEEDED, STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN,
};
use guard_common::abi::ids::PairKey;
use guard_common::abi::outcome::Outcome;
use guard_common::logic::breaker::{window, word};

use super::breakers::{policy, state_name};
use super::state::{Guard, State};
use crate::control::Peer;
use crate::control::api::{
    BreakerAction, BreakerRecord, BreakerRequest, Breakers, ErrorBody, WindowRecord,
};
use crate::kernel::{BreakerView, OperatorStep, boottime_ns};
use crate::observe::with_ids;
use crate::plan::{BreakerMode, Protocol};

/// Outcomes that a slot keeps.
const OUTCOMES_KEPT: u32 = 16;

fn wrong(error: String, help: &str) -> ErrorBody {
    ErrorBody { error, help: help.to_owned(), exit_code: 2 }
}

impl Guard {
    /// Every breaker.
    pub(super) fn breakers_now(&self) -> Breakers {
        let breakers = self.breaker_records(&self.lock());
        Breakers { schema: "guard.breakers/1".into(), breakers }
    }

    /// The same, for whoever has the state.
    pub(super) fn breaker_records(&self, state: &State) -> Vec<BreakerRecord> {
        let mut breakers: Vec<_> =
            state.kernel.breakers().iter().map(|view| self.record(state, view)).collect();
        breakers.sort_by(|a, b| (&a.bulkhead, &a.service).cmp(&(&b.bulkhead, &b.service)));
        breakers
    }

    fn record(&self, state: &State, view: &BreakerView) -> BreakerRecord {
        let (bulkhead, service) = with_ids(&self.ids, |ids| {
            (
                ids.bulkhead_name(view.pair.bulkhead).to_owned(),
                ids.service_name(view.pair.service).to_owned(),
            )
        });
        let plan = state.breaker_plan(&bulkhead, &service);
        let now_ns = boottime_ns();
        let number = word::state(view.slot.word);
        let seconds = |ns: u64| ns as f64 / 1e9;
        let asked_ns = view.slot.asked_until_ns.saturating_sub(now_ns);
        let outcomes = outcomes(view.slot.outcomes);
        let kernel = policy(&plan, Protocol::Auto);
        let sums = (kernel.bucket_ns != 0).then(|| {
            let epoch = window::epoch(&kernel, now_ns);
            window::sums(&view.slot.buckets, epoch, word::generation(view.slot.word))
        });
        BreakerRecord {
            state: state_name(number).to_owned(),
            mode: plan.mode.name().to_owned(),
            failures: if number == STATE_CLOSED { word::failures(view.slot.word) } else { 0 },
            failure_threshold: plan.failure_threshold,
            trips: word::trips(view.slot.word),
            remaining_seconds: (number == STATE_OPEN)
                .then(|| seconds(word::remaining_ns(view.slot.word, now_ns))),
            asked_seconds: (asked_ns != 0).then(|| seconds(asked_ns)),
            window: sums.map(|sums| WindowRecord {
                calls: sums.calls,
                failed: sums.failed,
                slow: sums.slow,
            }),
            rejected: view.slot.rejected,
            held: view.slot.held,
            would_have: view.slot.would_have,
            probes_succeeded: view.slot.probes[PROBE_SUCCEEDED],
            probes_failed: view.slot.probes[PROBE_FAILED],
            probes_given_back: view.slot.probes[PROBE_GIVEN_BACK],
            generation: word::generation(view.slot.word),
            last_failure_seconds: (view.slot.failed_ns != 0)
                .then(|| seconds(now_ns.saturating_sub(view.slot.failed_ns))),
            why: why(number, plan.mode, &outcomes, sums, asked_ns != 0),
            last_outcomes: outcomes,
            bulkhead,
            service,
        }
    }

    /// Does what the operator asks for. When it returns, pools that go with it are cut.
    pub(super) fn change_breaker(
        &self,
        peer: &Peer,
        request: &BreakerRequest,
    ) -> Result<Breakers, ErrorBody> {
        let changed = self.change_and_order_cuts(peer, request);
        self.wait_for_cuts();
        changed
    }

    fn change_and_order_cuts(
        &self,
        peer: &Peer,
        request: &BreakerRequest,
    ) -> Result<Breakers, ErrorBody> {
        let BreakerRequest { bulkhead, service, action, mode } = request;
        let mut state = self.lock();
        let Some(live) = state.bulkheads.get(bulkhead) else {
            let known: Vec<_> = state.bulkheads.keys().map(String::as_str).collect();
            let error =
                format!("no bulkhead is named {bulkhead:?}; there are: {}", known.join(", "));
            return Err(wrong(error, "guardctl breaker list"));
        };
        let id = with_ids(&self.ids, |ids| {
            ids.all_services().find(|id| ids.service_name(*id) == service)
        });
        let pair = id.map(|id| PairKey { bulkhead: live.id, service: id });
        let Some(pair) = pair.filter(|pair| state.kernel.breaker(*pair).is_some()) else {
            let error = format!("bulkhead {bulkhead} has no breaker for {service:?}");
            return Err(wrong(error, "guardctl breaker list"));
        };
        tracing::warn!(bulkhead, service, ?action, mode, uid = peer.uid, "breaker changed by hand");
        match action {
            BreakerAction::Trip => self.step(&mut state, pair, OperatorStep::Trip)?,
            BreakerAction::Reset => self.step(&mut state, pair, OperatorStep::Reset)?,
            BreakerAction::Mode => {
                let word = mode.as_deref().unwrap_or_default();
                let Some(mode) = BreakerMode::from_name(word) else {
                    let known: Vec<_> = BreakerMode::ALL.iter().map(|mode| mode.name()).collect();
                    let error = format!("mode {word:?} is not one of {}", known.join(", "));
                    return Err(wrong(error, "guardctl breaker mode --help"));
                };
                state.breaker_modes.insert((bulkhead.clone(), service.clone()), mode);
                state.write_breakers(&self.ids)?;
                if mode == BreakerMode::ForceOpen {
                    self.cut_pool(&state, pair, bulkhead, service);
                }
                if let Err(error) =
                    with_ids(&self.ids, |ids| state.keeping.save(ids, &state.breaker_modes))
                {
                    tracing::error!(%error, "the mode is in force, but a restart forgets it");
                }
            }
        }
        let breakers = state.kernel.breaker(pair).map(|view| self.record(&state, &view));
        Ok(Breakers { schema: "guard.breakers/1".into(), breakers: breakers.into_iter().collect() })
    }

    fn step(&self, state: &mut State, pair: PairKey, step: OperatorStep) -> Result<(), ErrorBody> {
        state.kernel.step_breaker(pair, step).map_err(super::error::DaemonError::from)?;
        self.report_transitions(state);
        Ok(())
    }
}

/// The names of the outcomes in a slot's word, the newest first.
fn outcomes(word: u64) -> Vec<String> {
    (0..OUTCOMES_KEPT)
        .map(|place| (word >> (4 * place)) & 0xf)
        .take_while(|number| *number != 0)
        .filter_map(|number| Outcome::ALL.get(number as usize - 1))
        .map(|outcome| outcome.name().to_owned())
        .collect()
}

fn why(
    state: u32,
    mode: BreakerMode,
    outcomes: &[String],
    sums: Option<window::Sums>,
    asked: bool,
) -> String {
    match mode {
        BreakerMode::ForceOpen => return "held open by its mode".to_owned(),
        BreakerMode::ForceClosed => return "held closed by its mode".to_owned(),
        BreakerMode::Off => return "its mode is off".to_owned(),
        BreakerMode::Enforce | BreakerMode::Monitor => {}
    }
    let last = match outcomes {
        [] => "no call yet".to_owned(),
        some => format!("last: {}", some[..some.len().min(5)].join(", ")),
    };
    let last = match sums.filter(|sums| sums.calls > 0) {
        Some(sums) => {
            let (calls, failed, slow) = (sums.calls, sums.failed, sums.slow);
            format!("{last}; window: {calls} calls, {failed} bad, {slow} slow")
        }
        None => last,
    };
    match state {
        STATE_OPEN if asked => format!("refuses, as the service asked (Retry-After); {last}"),
        STATE_OPEN => format!("refuses; {last}"),
        STATE_HALF_OPEN => format!("waits for its probe; {last}"),
        _ => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_newest_first() {
        let word = (Outcome::Success as u64 + 1) << 4 | (Outcome::Refused as u64 + 1);
        assert_eq!(outcomes(word), ["refused", "success"]);
        assert!(outcomes(0).is_empty());
    }
}
