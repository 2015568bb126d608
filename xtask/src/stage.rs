//! Results of stages, and the table at the end of `cargo xtask test`. It never turns a failure
//! into a success: what ran and failed without saying how often counts as one failure.

use std::time::Instant;

use anyhow::Result;

/// What one stage of checks or tests did.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stage {
    /// Name in the table.
    pub(crate) name: String,
    /// Checks or tests that passed.
    pub(crate) passed: u64,
    /// Names of those that failed; how many is [`Stage::failed`].
    pub(crate) failures: Vec<String>,
    /// Failures that have no name (a suite that did not build or died).
    pub(crate) unnamed_failures: u64,
    /// What was left out, as `name: reason`.
    pub(crate) skipped: Vec<String>,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Whether it is made of tests: at least one must run.
    pub(crate) tests: bool,
}

impl Stage {
    /// An empty stage.
    pub(crate) fn new(name: &str, tests: bool) -> Self {
        Self { name: name.to_owned(), tests, ..Self::default() }
    }

    /// A stage that is left out as a whole.
    pub(crate) fn left_out(name: &str, reason: &str) -> Self {
        Self { skipped: vec![format!("{name}: {reason}")], ..Self::new(name, true) }
    }

    /// How many failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.len() as u64 + self.unnamed_failures
    }

    /// Runs one check of this stage and counts its result.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<Check>) {
        let start = Instant::now();
        let result = match check() {
            Ok(Check::Passed) => {
                self.passed += 1;
                "ok".to_owned()
            }
            Ok(Check::Skipped(reason)) => {
                let line = format!("skipped: {reason}");
                self.skipped.push(format!("{name}: {reason}"));
                line
            }
            Ok(Check::Failed) => {
                self.failures.push(name.to_owned());
                "FAILED".to_owned()
            }
            Err(error) => {
                self.failures.push(name.to_owned());
                format!("FAILED: {error:#}")
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        self.seconds += seconds;
        eprintln!("{name} ... {result} ({seconds:.1} s)");
    }
}

/// Result of one check.
pub(crate) enum Check {
    /// It is as it should be.
    Passed,
    /// It is not; why was printed.
    Failed,
    /// It could not be made; why.
    Skipped(String),
}

impl From<bool> for Check {
    fn from(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}

/// The closing report, and whether everything is well: nothing failed, and tests did run.
pub(crate) fn report(stages: &[Stage]) -> (String, bool) {
    let mut lines = vec![String::new(), row("stage", &["passed", "failed", "skipped", "seconds"])];
    let (mut passed, mut failed, mut skipped, mut tests) = (0, 0, 0, 0);
    for stage in stages {
        let skips = stage.skipped.len() as u64;
        let numbers = [stage.passed, stage.failed(), skips].map(|number| number.to_string());
        let seconds = format!("{:.1}", stage.seconds);
        lines.push(row(&stage.name, &[&numbers[0], &numbers[1], &numbers[2], &seconds]));
        passed += stage.passed;
        failed += stage.failed();
        skipped += skips;
        tests += if stage.tests { stage.passed + stage.failed() } else { 0 };
    }
    lines.extend(list("skipped", stages, |stage| &stage.skipped));
    lines.extend(list("failed", stages, |stage| &stage.failures));
    if tests == 0 {
        lines.push("\nNo test ran at all: this counts as a failure.".to_owned());
    }
    lines.push(format!("\n{passed} passed, {failed} failed, {skipped} skipped"));
    (lines.join("\n"), failed == 0 && tests > 0)
}

fn row(name: &str, cells: &[&str; 4]) -> String {
    let [passed, failed, skipped, seconds] = cells;
    format!("{name:<10} {passed:>8} {failed:>8} {skipped:>8} {seconds:>9}")
}

/// A heading and one line per entry; nothing at all without an entry.
fn list(title: &str, stages: &[Stage], of: fn(&Stage) -> &Vec<String>) -> Vec<String> {
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
    use super::{Stage, report};

    #[test]
    fn report_closes_with_the_sums_alone_on_a_line() {
        let lint =
            Stage { passed: 5, skipped: vec!["deny: none".into()], ..Stage::new("l", false) };
        let unit = Stage { passed: 7, failures: vec!["a::b".into()], ..Stage::new("unit", true) };
        let (text, well) = report(&[lint, unit]);
        assert_eq!(text.lines().last(), Some("12 passed, 1 failed, 1 skipped"));
        assert!(text.contains("deny: none") && text.contains("a::b"));
        assert!(!well);
    }

    #[test]
    fn no_test_at_all_is_a_failure() {
        let lint = Stage { passed: 5, ..Stage::new("lint", false) };
        assert!(!report(&[lint.clone(), Stage::new("unit", true)]).1);
        assert!(report(&[lint, Stage { passed: 1, ..Stage::new("unit", true) }]).1);
    }
}
