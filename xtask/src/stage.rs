//! What the stages of `cargo xtask test` did, case by case. It never turns a failure into a
//! success: what died without saying what failed is a failed case of its own.

use std::time::Instant;

use anyhow::Result;

/// One stage: lints, unit tests, native tests, …
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stage {
    /// Name in the table.
    pub(crate) name: String,
    /// Every check or test that ran or was left out.
    pub(crate) cases: Vec<Case>,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Whether it is made of tests: at least one must run.
    pub(crate) tests: bool,
}

/// One check or test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    /// The executable that it belongs to; empty for a check.
    pub(crate) suite: String,
    /// Its name, unique within the suite.
    pub(crate) name: String,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// What it printed.
    pub(crate) output: String,
    /// How long it took; of tests that run beside others, the time since the last result.
    pub(crate) seconds: f64,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is as it should be.
    Passed,
    /// It is not.
    Failed,
    /// It could not run; why.
    Skipped(String),
}

impl Case {
    /// A failure, with all that there is to say.
    pub(crate) fn failure(suite: &str, name: &str, output: String) -> Self {
        let (suite, name) = (suite.to_owned(), name.to_owned());
        Self { suite, name, outcome: Outcome::Failed, output, seconds: 0.0 }
    }

    /// Suite and name.
    pub(crate) fn full_name(&self) -> String {
        if self.suite.is_empty() {
            return self.name.clone();
        }
        format!("{} {}", self.suite, self.name)
    }
}

impl Stage {
    /// An empty stage.
    pub(crate) fn new(name: &str, tests: bool) -> Self {
        Self { name: name.to_owned(), tests, ..Self::default() }
    }

    /// A stage that is left out as a whole.
    pub(crate) fn left_out(name: &str, reason: &str) -> Self {
        let mut stage = Self::new(name, false);
        stage.add(name, Outcome::Skipped(reason.to_owned()));
        stage
    }

    /// Adds a case without suite and output.
    pub(crate) fn add(&mut self, name: &str, outcome: Outcome) {
        self.cases.push(Case { outcome, ..Case::failure("", name, String::new()) });
    }

    /// How many passed.
    pub(crate) fn passed(&self) -> usize {
        self.cases.iter().filter(|case| case.outcome == Outcome::Passed).count()
    }

    /// Those that failed.
    pub(crate) fn failed(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(|case| case.outcome == Outcome::Failed)
    }

    /// Those that were left out, with the reason.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = (&Case, &str)> {
        self.cases.iter().filter_map(|case| match &case.outcome {
            Outcome::Skipped(reason) => Some((case, reason.as_str())),
            _ => None,
        })
    }

    /// Runs one check of this stage, shows its result and keeps it.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<Outcome>) {
        let start = Instant::now();
        let (outcome, shown) = match check() {
            Ok(Outcome::Passed) => (Outcome::Passed, "ok".to_owned()),
            Ok(Outcome::Failed) => (Outcome::Failed, "FAILED".to_owned()),
            Ok(Outcome::Skipped(reason)) => {
                let shown = format!("skipped: {reason}");
                (Outcome::Skipped(reason), shown)
            }
            Err(error) => (Outcome::Failed, format!("FAILED: {error:#}")),
        };
        let seconds = start.elapsed().as_secs_f64();
        self.seconds += seconds;
        self.add(name, outcome);
        eprintln!("{name} ... {shown} ({seconds:.1} s)");
    }
}

impl From<bool> for Outcome {
    fn from(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}
