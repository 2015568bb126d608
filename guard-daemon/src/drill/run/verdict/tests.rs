//! Each way to a verdict.

use super::*;
use crate::control::api::{FaultCounters, FaultRecord};

fn check(phase: Phase, met: Option<bool>) -> Check {
    Check {
        name: "writing success rate".into(),
        phase,
        met,
        measured: "93.8 % of 412 calls".into(),
        limit: "at least 95.0 %".into(),
        first_miss_seconds: None,
    }
}

fn proof(matched: u64, met: Option<bool>) -> Proof {
    let fault = FaultRecord {
        id: 1,
        bulkhead: "research".into(),
        service: "github".into(),
        effect: "loss 2%".into(),
        engine: "kernel".into(),
        state: "ended".into(),
        ended: "done".into(),
        remaining_seconds: 0.0,
        seed: 1,
        drill: None,
        counters: FaultCounters { matched, ..FaultCounters::default() },
        held: None,
        warnings: Vec::new(),
    };
    Proof { fault, asked: "loss 2%".into(), measured: "measured".into(), met }
}

/// Status, verdict, exit code.
type Short = (Status, Verdict, u8);

struct Case {
    ending: Ending,
    checks: Vec<Check>,
    proof: Vec<Proof>,
    touched: u64,
    cleanup: Option<bool>,
}

impl Default for Case {
    /// A drill that holds.
    fn default() -> Self {
        Self {
            ending: Ending::Planned,
            checks: vec![check(Phase::During, Some(true))],
            proof: vec![proof(10, Some(true))],
            touched: 0,
            cleanup: Some(true),
        }
    }
}

impl Case {
    fn judged(&self) -> (Short, String) {
        let collateral =
            [Collateral { bulkhead: "writing".into(), touched: self.touched, calls: 5 }];
        let left_over =
            if self.cleanup == Some(false) { vec!["rule 0".to_owned()] } else { vec![] };
        let cleanup = Cleanup { complete: self.cleanup, left_over, seconds: 1.0 };
        let Judgement { status, verdict, exit_code, why } = judge(&Seen {
            ending: &self.ending,
            checks: &self.checks,
            proof: &self.proof,
            collateral: &collateral,
            cleanup: &cleanup,
        });
        ((status, verdict, exit_code), why)
    }
}

#[test]
fn each_way_to_a_verdict() {
    use Status::{Aborted, Completed, Failed, Interrupted};
    use Verdict::{Deviated, Held, Inconclusive};
    let base = Case::default;
    assert_eq!(base().judged().0, (Completed, Held, 0));

    let missed = Case { checks: vec![check(Phase::After, Some(false))], ..base() };
    let (short, why) = missed.judged();
    assert_eq!(short, (Completed, Deviated, 1));
    assert_eq!(
        why,
        "writing success rate after the faults: 93.8 % of 412 calls, limit at least 95.0 %"
    );

    let few = Case { checks: vec![check(Phase::During, None)], ..base() };
    assert_eq!(few.judged().0, (Completed, Inconclusive, 5));

    let idle = Case { proof: vec![proof(0, None)], ..base() };
    assert_eq!(idle.judged().0, (Completed, Inconclusive, 5));
    let idle = Case { checks: vec![check(Phase::During, Some(false))], ..idle };
    assert_eq!(idle.judged().0, (Completed, Inconclusive, 5), "not the fault's doing");

    let half = Case { proof: vec![proof(10, Some(true)), proof(0, None)], ..base() };
    assert_eq!(half.judged().0, (Completed, Inconclusive, 5));

    let touched = Case { touched: 1, ..base() };
    assert_eq!(touched.judged().0, (Completed, Deviated, 1));

    let aborted = Case { ending: Ending::Aborted("writing success".into()), ..base() };
    assert_eq!(aborted.judged().0, (Aborted, Deviated, 1));
    let halted = Case { ending: Ending::Interrupted("halted: fire".into()), ..base() };
    assert_eq!(halted.judged(), ((Interrupted, Inconclusive, 5), "halted: fire".to_owned()));

    let ending = Ending::NotBegun;
    let not_begun = Case { ending, checks: vec![check(Phase::Before, Some(false))], ..base() };
    let (short, why) = not_begun.judged();
    assert_eq!(short, (Failed, Inconclusive, 5));
    assert!(why.starts_with("no fault was injected: writing success rate before"), "{why}");
}

#[test]
fn what_is_left_over_outweighs_everything() {
    for ending in [Ending::Planned, Ending::Aborted("x".into()), Ending::Interrupted("x".into())] {
        let (short, why) = Case { ending, cleanup: Some(false), ..Case::default() }.judged();
        assert_eq!(short.2, 3);
        assert!(why.ends_with("; left over: rule 0"), "{why}");
    }
    // A guardd that is gone cannot be asked: the kernel ends its faults with the lease.
    let gone = Case { cleanup: None, ..Case::default() };
    assert_eq!(gone.judged().0.2, 0);
}
