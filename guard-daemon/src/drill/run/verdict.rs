//! From everything that was seen to status, verdict, exit code and one sentence. Pure.

use super::super::record::{Check, Cleanup, Collateral, Proof, Status, Verdict};
use super::super::spec::Phase;

/// How the run ended, apart from what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As planned.
    Planned,
    /// The steady state was not there before.
    NotBegun,
    /// A fault could not be injected: why.
    NotInjected(String),
    /// An abort condition fired: which.
    Aborted(String),
    /// A person, a signal or guardd stopped it: who.
    Interrupted(String),
}

/// Everything that the verdict depends on.
pub(super) struct Seen<'a> {
    pub(super) ending: &'a Ending,
    pub(super) checks: &'a [Check],
    pub(super) proof: &'a [Proof],
    pub(super) collateral: &'a [Collateral],
    pub(super) cleanup: &'a Cleanup,
}

/// What it all means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) status: Status,
    pub(super) verdict: Verdict,
    pub(super) exit_code: u8,
    pub(super) why: String,
}

const HELD: u8 = 0;
const DEVIATED: u8 = 1;
const CLEANUP_INCOMPLETE: u8 = 3;
const INCONCLUSIVE: u8 = 5;

/// Judges. What is left on the host outweighs everything: its exit code is 3 whatever was shown.
pub(super) fn judge(seen: &Seen<'_>) -> Judgement {
    let (status, verdict, why) = shown(seen);
    let exit_code = match verdict {
        _ if seen.cleanup.complete == Some(false) => CLEANUP_INCOMPLETE,
        Verdict::Held => HELD,
        Verdict::Deviated => DEVIATED,
        Verdict::Inconclusive => INCONCLUSIVE,
    };
    let why = match seen.cleanup.left_over.first() {
        Some(left) if exit_code == CLEANUP_INCOMPLETE => format!("{why}; left over: {left}"),
        _ => why,
    };
    Judgement { status, verdict, exit_code, why }
}

fn shown(seen: &Seen<'_>) -> (Status, Verdict, String) {
    use Verdict::{Deviated, Held, Inconclusive};
    match seen.ending {
        Ending::NotBegun => {
            let missed = missed(seen.checks).map(sentence).unwrap_or_default();
            return (Status::Failed, Inconclusive, format!("no fault was injected: {missed}"));
        }
        Ending::NotInjected(why) => return (Status::Failed, Inconclusive, why.clone()),
        Ending::Aborted(why) => return (Status::Aborted, Deviated, why.clone()),
        Ending::Interrupted(who) => return (Status::Interrupted, Inconclusive, who.clone()),
        Ending::Planned => {}
    }
    let done = |verdict, why| (Status::Completed, verdict, why);
    if let Some(touched) = seen.collateral.iter().find(|other| other.touched > 0) {
        let (count, name) = (touched.touched, &touched.bulkhead);
        return done(
            Deviated,
            format!("{count} packets of {name}, which was no target, were touched"),
        );
    }
    // A deviation that no fault has made is not the drill's.
    if !seen.proof.is_empty() && seen.proof.iter().all(|proof| proof.fault.counters.matched == 0) {
        return done(Inconclusive, "no fault touched any traffic, so this proves nothing".into());
    }
    if let Some(check) = missed(seen.checks) {
        return done(Deviated, sentence(check));
    }
    if let Some(proof) = seen.proof.iter().find(|proof| proof.met != Some(true)) {
        return done(Inconclusive, format!("{} is not proven: {}", proof.asked, proof.measured));
    }
    if let Some(check) = seen.checks.iter().find(|check| check.met.is_none()) {
        return done(Inconclusive, sentence(check));
    }
    done(Held, "everything that should hold held".into())
}

fn missed(checks: &[Check]) -> Option<&Check> {
    checks.iter().find(|check| check.met == Some(false))
}

/// `writing success rate during the faults: 93.8 % of 412 calls, limit at least 95.0 %`.
fn sentence(check: &Check) -> String {
    let when = match check.phase {
        Phase::Before => "before the faults",
        Phase::During => "during the faults",
        Phase::After => "after the faults",
    };
    format!("{} {when}: {}, limit {}", check.name, check.measured, check.limit)
}

#[cfg(test)]
mod tests;
