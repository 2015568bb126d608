//! Reads what `cargo test` prints, line by line, standard output and standard error in one
//! stream. Tests that leave themselves out print `SKIPPED name: reason` and pass as far as libtest
//! knows: here they are skipped. An executable that dies is a failed case, never nothing.

use std::time::Instant;

use crate::stage::{Case, Outcome};

/// Name of the case that stands for an executable which ended without a result.
pub(crate) const DIED: &str = "(the whole executable)";

/// Where we are in the stream.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    cases: Vec<Case>,
    /// The executable that runs, from its `Running` line to its result.
    suite: Option<String>,
    /// Index of the first case of that executable.
    first: usize,
    /// When the last result of it came.
    last: Option<Instant>,
    /// A test that has begun and has no result yet, and what came since.
    running: Option<(String, String)>,
    /// Index of the case whose output section this is.
    section: Option<usize>,
    /// Lines of the running executable that belong to no test.
    loose: String,
}

/// What a line was, for whoever shows the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Of cargo itself: compiling, warnings, errors.
    Cargo,
    /// Part of an executable's output.
    Inside,
    /// An executable began.
    Began(String),
    /// The executable has ended.
    Ended(Summary),
}

/// Counts of one executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Its name.
    pub(crate) suite: String,
    /// Tests that passed.
    pub(crate) passed: usize,
    /// Names of those that failed.
    pub(crate) failed: Vec<String>,
    /// Tests that were left out.
    pub(crate) skipped: usize,
}

impl Summary {
    /// Whether any test ran or left itself out.
    pub(crate) fn has_tests(&self) -> bool {
        self.passed + self.failed.len() + self.skipped > 0
    }

    /// One line with the counts, and one for each failure.
    pub(crate) fn show(&self, seconds: f64) -> String {
        let Self { suite, passed, failed, skipped } = self;
        let failures = match failed.len() {
            0 => String::new(),
            some => format!(", {some} FAILED"),
        };
        let skips = if *skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
        let named = failed.iter().map(|name| format!("\n    FAILED {name}"));
        format!(
            "{suite:<28} {passed:>4} passed{failures}{skips}, {seconds:.1} s{}",
            named.collect::<String>()
        )
    }
}

impl Parser {
    /// Takes in the next line, without its end.
    pub(crate) fn line(&mut self, line: &str) -> Line {
        if let Some(suite) = began(line) {
            self.close();
            self.first = self.cases.len();
            self.suite = Some(suite.clone());
            self.last = Some(Instant::now());
            return Line::Began(suite);
        }
        if self.suite.is_none() {
            return Line::Cargo;
        }
        if line.starts_with("test result: ") {
            return self.ended();
        }
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" ----")) {
            let name = name.strip_suffix(" stdout").unwrap_or(name);
            self.section = self.position(name);
        } else if line == "successes:" || line == "failures:" {
            self.section = None;
        } else if let Some(at) = self.section {
            self.output(at, line);
        } else if let Some((name, rest)) = test_line(line) {
            match outcome(rest) {
                Some(outcome) => self.add(name, outcome, String::new()),
                None => self.running = Some((name.to_owned(), format!("{rest}\n"))),
            }
        } else if self.running.is_some() {
            self.running_line(line);
        } else {
            self.loose.push_str(line);
            self.loose.push('\n');
        }
        Line::Inside
    }

    /// All cases; call it when the stream has ended.
    pub(crate) fn finish(mut self) -> Vec<Case> {
        self.close();
        self.cases
    }

    /// Turns an executable without a result into a failed case.
    fn close(&mut self) {
        let Some(suite) = self.suite.take() else { return };
        self.section = None;
        let mut output = std::mem::take(&mut self.loose);
        if let Some((name, text)) = self.running.take() {
            output.insert_str(0, &format!("it ended while `{name}` ran\n{text}"));
        }
        self.cases.push(Case::failure(&suite, DIED, output));
    }

    fn ended(&mut self) -> Line {
        let suite = self.suite.take().unwrap_or_default();
        (self.section, self.running) = (None, None);
        self.loose.clear();
        let (mut passed, mut failed, mut skipped) = (0, Vec::new(), 0);
        for case in &self.cases[self.first..] {
            match case.outcome {
                Outcome::Passed => passed += 1,
                Outcome::Failed => failed.push(case.name.clone()),
                Outcome::Skipped(_) => skipped += 1,
            }
        }
        Line::Ended(Summary { suite, passed, failed, skipped })
    }

    fn add(&mut self, name: &str, outcome: Outcome, output: String) {
        let suite = self.suite.clone().unwrap_or_default();
        let (outcome, name) = (skip_in(&output).unwrap_or(outcome), name.to_owned());
        let seconds =
            self.last.replace(Instant::now()).map_or(0.0, |at| at.elapsed().as_secs_f64());
        self.cases.push(Case { suite, name, outcome, output, seconds });
    }

    /// Something that the running test printed past libtest, or its result.
    fn running_line(&mut self, line: &str) {
        let Some((name, mut text)) = self.running.take() else { return };
        if let Some(outcome) = outcome(line) {
            return self.add(&name, outcome, text);
        }
        text.push_str(line);
        text.push('\n');
        self.running = Some((name, text));
    }

    fn position(&self, name: &str) -> Option<usize> {
        let found = self.cases[self.first..].iter().position(|case| case.name == name)?;
        Some(self.first + found)
    }

    fn output(&mut self, at: usize, line: &str) {
        let case = &mut self.cases[at];
        if case.outcome == Outcome::Passed
            && let Some(skipped) = skip_in(line)
        {
            case.outcome = skipped;
        }
        case.output.push_str(line);
        case.output.push('\n');
    }
}

/// `     Running unittests src/lib.rs (target/debug/deps/NAME-HASH)` or `   Doc-tests NAME`.
fn began(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("   Doc-tests ") {
        return Some(format!("documentation of {name}"));
    }
    let path = line.strip_prefix("     Running ")?.strip_suffix(')')?.rsplit_once('(')?.1;
    let file = path.rsplit('/').next()?;
    Some(file.rsplit_once('-').map_or(file, |(name, _)| name).to_owned())
}

/// Name and rest of `test NAME ... rest`; the rest may be missing yet.
fn test_line(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("test ")?;
    line.split_once(" ... ").or_else(|| Some((line.strip_suffix(" ...")?, "")))
}

fn outcome(text: &str) -> Option<Outcome> {
    match text {
        "ok" => Some(Outcome::Passed),
        "FAILED" => Some(Outcome::Failed),
        "ignored" => Some(Outcome::Skipped("marked #[ignore] without a reason".to_owned())),
        other => other.strip_prefix("ignored, ").map(|why| Outcome::Skipped(why.to_owned())),
    }
}

/// The reason in `SKIPPED name: reason`, a line of its own.
fn skip_in(text: &str) -> Option<Outcome> {
    let line = text.lines().find_map(|line| line.strip_prefix("SKIPPED "))?;
    Some(Outcome::Skipped(line.split_once(": ")?.1.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{DIED, Line, Parser};
    use crate::stage::{Case, Outcome};

    fn parse(text: &str) -> (Vec<Line>, Vec<Case>) {
        let mut parser = Parser::default();
        let lines = text.lines().map(|line| parser.line(line)).collect();
        (lines, parser.finish())
    }

    fn outcomes(cases: &[Case]) -> Vec<(&str, &str, Option<&str>)> {
        let word = |case: &Case| match &case.outcome {
            Outcome::Passed => None,
            Outcome::Failed => Some("failed".to_owned()),
            Outcome::Skipped(reason) => Some(reason.clone()),
        };
        let leak = |text: Option<String>| text.map(|text| &*text.leak());
        cases.iter().map(|c| (&*c.suite, &*c.name, leak(word(c)))).collect()
    }

    #[test]
    fn several_executables_with_results_outputs_and_skips() {
        let (lines, cases) = parse(
            "   Compiling guard v0.1.0\n     Running unittests src/lib.rs (target/debug/deps/guard_common-0123)\n\n\
             running 3 tests\ntest a::one ... ok\ntest a::two ... FAILED\ntest b ... ignored, takes long\n\n\
             successes:\n\n---- a::one stdout ----\nSKIPPED one: needs root\n\n\nsuccesses:\n    a::one\n\n\
             failures:\n\n---- a::two stdout ----\nthread panicked\n    indented\n\n\nfailures:\n    a::two\n\n\
             test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out\n\n\
             \u{20}    Running tests/fault/main.rs (target/debug/deps/fault-9)\ntest x ... ok\n\
             test result: ok. 1 passed; 0 failed\n   Doc-tests guard_common\n\nrunning 0 tests\n\n\
             test result: ok. 0 passed; 0 failed",
        );
        assert_eq!(lines[0], Line::Cargo);
        assert_eq!(
            outcomes(&cases),
            [
                ("guard_common", "a::one", Some("needs root")),
                ("guard_common", "a::two", Some("failed")),
                ("guard_common", "b", Some("takes long")),
                ("fault", "x", None),
            ]
        );
        assert!(cases[1].output.contains("panicked\n    indented"));
        let ended = lines.iter().filter(|line| matches!(line, Line::Ended(_))).count();
        assert_eq!(ended, 3);
    }

    #[test]
    fn a_test_that_prints_past_libtest_still_has_its_result() {
        let (_, cases) = parse(
            "     Running tests/x.rs (target/debug/deps/x-1)\ntest a ... said by a child\nmore\nok\n\
             test b ... SKIPPED b: no ip6tables\nok\ntest c ... \nFAILED\n\
             test result: FAILED. 2 passed; 1 failed",
        );
        assert_eq!(
            outcomes(&cases),
            [("x", "a", None), ("x", "b", Some("no ip6tables")), ("x", "c", Some("failed"))]
        );
        assert_eq!(cases[0].output, "said by a child\nmore\n");
    }

    #[test]
    fn an_executable_that_dies_is_a_failure_that_names_the_test() {
        let (_, cases) = parse(
            "     Running tests/x.rs (target/debug/deps/x-1)\ntest a ... ok\ntest b ... \n\
             error: test failed, to rerun pass `--test x`\n\
             \u{20}    Running tests/y.rs (target/debug/deps/y-1)\ntest c ...",
        );
        assert_eq!(
            outcomes(&cases),
            [("x", "a", None), ("x", DIED, Some("failed")), ("y", DIED, Some("failed"))]
        );
        assert!(cases[1].output.contains("`b`") && cases[2].output.contains("`c`"));
    }
}
