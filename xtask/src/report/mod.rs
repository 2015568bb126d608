//! What a reader sees when all stages are over: the output of what failed, then the table, then
//! one line with the sums. Without a passed or failed test it never says that all is well.

use crate::stage::{Case, Stage};
use crate::test::second_try;

pub(crate) mod junit;

/// Lines shown of a failed test's output; the log has all.
const OUTPUT_LINES: usize = 80;

/// The closing report, and whether everything is well: nothing failed, and tests did run.
pub(crate) fn report(stages: &[Stage]) -> (String, bool) {
    let mut lines = Vec::new();
    for case in stages.iter().flat_map(Stage::failed).filter(|case| !case.output.is_empty()) {
        lines.push(format!("\n---- {} failed with this output:\n{}", case.full_name(), tail(case)));
    }
    lines.push(String::new());
    lines.push(row("stage", &["passed", "failed", "skipped", "seconds"]));
    let (mut passed, mut failed, mut skipped, mut tests) = (0, 0, 0, 0);
    for stage in stages {
        let counts = [stage.passed(), stage.failed().count(), stage.skipped().count()];
        let numbers = counts.map(|number| number.to_string());
        let seconds = format!("{:.1}", stage.seconds);
        lines.push(row(&stage.name, &[&numbers[0], &numbers[1], &numbers[2], &seconds]));
        passed += counts[0];
        failed += counts[1];
        skipped += counts[2];
        tests += if stage.tests { counts[0] + counts[1] } else { 0 };
    }
    lines.extend(list("skipped", stages, |stage| {
        stage.skipped().map(|(case, reason)| format!("{}: {reason}", case.full_name())).collect()
    }));
    lines.extend(list("passed at the second try", stages, |stage| {
        let late = stage.cases.iter().filter(|case| second_try::was_needed(case));
        late.map(Case::full_name).collect()
    }));
    lines.extend(list("failed", stages, |stage| stage.failed().map(Case::full_name).collect()));
    if tests == 0 {
        lines.push("\nNo test ran at all: this counts as a failure.".to_owned());
    }
    lines.push(format!("\n{passed} passed, {failed} failed, {skipped} skipped"));
    (lines.join("\n"), failed == 0 && tests > 0)
}

/// The end of a case's output, where assertions and panics stand.
fn tail(case: &Case) -> String {
    let lines: Vec<&str> = case.output.trim_end().lines().collect();
    let from = lines.len().saturating_sub(OUTPUT_LINES);
    let mut text = lines[from..].join("\n");
    if from > 0 {
        text.insert_str(0, &format!("[{from} lines before]\n"));
    }
    text
}

fn row(name: &str, cells: &[&str; 4]) -> String {
    let [passed, failed, skipped, seconds] = cells;
    format!("{name:<10} {passed:>8} {failed:>8} {skipped:>8} {seconds:>9}")
}

/// A heading and one line per entry; nothing at all without an entry.
fn list(title: &str, stages: &[Stage], of: impl Fn(&Stage) -> Vec<String>) -> Vec<String> {
    let mut lines = Vec::new();
    for stage in stages {
        lines.extend(of(stage).iter().map(|line| format!("  {:<8} {line}", stage.name)));
    }
    if !lines.is_empty() {
        lines.insert(0, format!("\n{title}:"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::report;
    use crate::stage::{Outcome, Stage};

    fn stage(name: &str, tests: bool, cases: &[(&str, Outcome)]) -> Stage {
        let mut stage = Stage::new(name, tests);
        for (name, outcome) in cases {
            stage.add(name, outcome.clone());
        }
        stage
    }

    #[test]
    fn report_closes_with_the_sums_alone_on_a_line() {
        let skipped = Outcome::Skipped("no deny here".into());
        let lint = stage("lint", false, &[("format", Outcome::Passed), ("deny", skipped)]);
        let unit = stage("unit", true, &[("a::b", Outcome::Failed), ("a::c", Outcome::Passed)]);
        let (text, well) = report(&[lint, unit]);
        assert_eq!(text.lines().last(), Some("2 passed, 1 failed, 1 skipped"));
        assert!(text.contains("deny: no deny here") && text.contains("unit     a::b"), "{text}");
        assert!(!well);
    }

    #[test]
    fn the_end_of_a_failed_tests_output_stands_before_the_table() {
        let mut unit = stage("unit", true, &[("a", Outcome::Failed)]);
        unit.cases[0].output = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        let (text, _) = report(&[unit]);
        let shown = text.find("[20 lines before]\n20\n21\n").expect(&text);
        assert!(shown < text.find("stage").expect(&text));
    }

    #[test]
    fn no_test_at_all_is_a_failure() {
        let lint = stage("lint", false, &[("format", Outcome::Passed)]);
        assert!(!report(&[lint.clone(), Stage::new("unit", true)]).1);
        assert!(report(&[lint, stage("unit", true, &[("a", Outcome::Passed)])]).1);
    }
}
