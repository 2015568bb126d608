//! Kernels beside each other: per executable the tests that passed, with failures marked. What
//! failed is named, with its output, by the report below it.

use super::suite;
use crate::stage::{Case, Outcome, Stage};

/// One row per executable, one column per kernel.
pub(super) fn table(stages: &[&Stage]) -> String {
    let mut suites: Vec<&str> = Vec::new();
    for case in stages.iter().flat_map(|stage| &stage.cases) {
        if !case.suite.is_empty() && !suites.contains(&case.suite.as_str()) {
            suites.push(&case.suite);
        }
    }
    suites.sort_unstable();
    let mut rows = vec![row("suite", stages.iter().map(|stage| stage.name.clone()))];
    rows.extend(suites.into_iter().map(|suite| row(suite, stages.iter().map(|s| cell(s, suite)))));
    rows.push(row(
        "all",
        stages.iter().map(|stage| counts(&stage.cases.iter().collect::<Vec<_>>())),
    ));
    let seconds = stages.iter().map(|stage| format!("{:.0}", stage.seconds));
    rows.push(row("seconds", seconds));
    rows.extend(
        suite::LEFT_OUT
            .iter()
            .chain(&suite::BY_NAME)
            .map(|(name, why)| format!("left out: {name}: {why}")),
    );
    rows.join("\n")
}

fn cell(stage: &Stage, suite: &str) -> String {
    counts(&stage.cases.iter().filter(|case| case.suite == suite).collect::<Vec<_>>())
}

fn counts(cases: &[&Case]) -> String {
    let number = |outcome| cases.iter().filter(|case| case.outcome == outcome).count();
    match (number(Outcome::Passed), number(Outcome::Failed)) {
        // What the time did not suffice for is listed by the report.
        (0, 0) => "-".to_owned(),
        (passed, 0) => passed.to_string(),
        (passed, failed) => format!("{passed} ({failed} FAILED)"),
    }
}

fn row(name: &str, cells: impl Iterator<Item = String>) -> String {
    let padded: Vec<String> = cells.map(|cell| format!("{cell:>16}")).collect();
    format!("{name:<20} {}", padded.join(" "))
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::stage::{Case, Outcome, Stage};

    #[test]
    fn failures_stand_out_and_what_did_not_run_is_a_dash() {
        let case =
            |suite: &str, outcome| Case { outcome, ..Case::failure(suite, "n", String::new()) };
        let mut old = Stage::new("vm-6.1", true);
        old.cases = vec![case("fault", Outcome::Passed), case("fault", Outcome::Failed)];
        let mut new = Stage::new("vm-latest", true);
        let late = Outcome::Skipped("no time".into());
        new.cases = vec![case("observe", Outcome::Passed), case("", late)];
        let text = table(&[&old, &new]);
        let words = |line: usize| text.lines().nth(line).unwrap().split_whitespace().collect();
        let (fault, observe): (Vec<_>, Vec<_>) = (words(1), words(2));
        let all: Vec<_> = words(3);
        assert_eq!(all, ["all", "1", "(1", "FAILED)", "1"], "left out is not failed: {text}");
        assert_eq!(fault, ["fault", "1", "(1", "FAILED)", "-"], "{text}");
        assert_eq!(observe, ["observe", "-", "1"], "{text}");
    }
}
