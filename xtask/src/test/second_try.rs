//! Second tries. A test that failed may have met a host that was late: each of a few is tried once
//! more, alone. Who fails again has failed; who does not is named in the report. It never hides the
//! first failure: its output stays with the case, and the report lists it.

use crate::stage::{Case, Outcome};

/// So many failures of one executable are tried again: with more, something is wrong.
pub(crate) const MOST: usize = 3;
/// How many times their time tests get then.
pub(crate) const PATIENCE: u32 = 2;
/// Where tests read it.
pub(crate) const TIME_SCALE: &str = "GUARD_TIME_SCALE";
/// Exit code of libtest when tests have failed; with another the executable itself died.
pub(crate) const FAILED: i32 = 101;
/// Printed by tests for the reader of the table.
pub(crate) const NOTE: &str = "NOTE ";
/// What a note says of a test that passed at last.
const AGAIN: &str = " failed, and passed when it was tried again";

/// A test that failed and was tried again counts as what it was then, and says so.
pub(crate) fn passed_at_last(cases: Vec<Case>) -> Vec<Case> {
    let mut last: Vec<Case> = Vec::new();
    for mut case in cases {
        let same = |before: &Case| (&before.suite, &before.name) == (&case.suite, &case.name);
        match last.iter().position(same) {
            Some(at) if last[at].outcome == Outcome::Failed => {
                let name = case.full_name();
                let before = std::mem::take(&mut last[at].output);
                let note = if case.outcome == Outcome::Passed {
                    format!("{NOTE}{name}{AGAIN}")
                } else {
                    format!("{name} failed twice")
                };
                case.output = format!("{note}\n{}The first time:\n{before}", case.output);
                last[at] = case;
            }
            _ => last.push(case),
        }
    }
    last
}

/// What is good to know of a case though nothing failed.
pub(crate) fn notes(case: &Case) -> impl Iterator<Item = &str> {
    case.output.lines().filter_map(|line| line.strip_prefix(NOTE))
}

/// Whether it passed only when it was tried again.
pub(crate) fn was_needed(case: &Case) -> bool {
    case.outcome == Outcome::Passed && notes(case).any(|note| note.ends_with(AGAIN))
}

#[cfg(test)]
mod tests {
    use super::{passed_at_last, was_needed};
    use crate::stage::{Case, Outcome};

    fn case(name: &str, outcome: Outcome, output: &str) -> Case {
        Case { outcome, ..Case::failure("x", name, output.to_owned()) }
    }

    #[test]
    fn the_last_try_counts_and_the_first_is_kept() {
        let cases = passed_at_last(vec![
            case("a", Outcome::Failed, "too late\n"),
            case("b", Outcome::Failed, "wrong\n"),
            case("c", Outcome::Passed, ""),
            case("a", Outcome::Passed, ""),
            case("b", Outcome::Failed, "wrong again\n"),
        ]);
        let outcomes: Vec<_> = cases.iter().map(|case| (&*case.name, &case.outcome)).collect();
        let (passed, failed) = (&Outcome::Passed, &Outcome::Failed);
        assert_eq!(outcomes, [("a", passed), ("b", failed), ("c", passed)]);
        assert_eq!(cases.iter().map(was_needed).collect::<Vec<_>>(), [true, false, false]);
        assert!(cases[0].output.contains("too late"), "{}", cases[0].output);
        assert!(cases[1].output.contains("wrong again\nThe first time:\nwrong"));
    }
}
