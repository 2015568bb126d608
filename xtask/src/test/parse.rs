//! Counts what libtest printed. Tests that leave themselves out print
//! `SKIPPED name: reason` and pass as far as libtest knows: they are taken off the passed ones.

use crate::stage::Stage;

/// Sums up the output of any number of test executables.
pub(crate) fn parse(lines: &[String]) -> Stage {
    let mut stage = Stage::default();
    let (mut failed, mut ignored) = (0, 0);
    let mut in_failures = false;
    for line in lines {
        if let Some(skip) = skipped(line) {
            if !stage.skipped.contains(&skip) {
                stage.skipped.push(skip);
            }
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            stage.passed += count(rest, "passed");
            failed += count(rest, "failed");
            ignored += count(rest, "ignored");
            in_failures = false;
        } else if line == "failures:" {
            in_failures = true;
        } else if let Some(name) = line.strip_prefix("    ").filter(|_| in_failures) {
            let plain = !name.is_empty() && !name.contains(char::is_whitespace);
            if plain && !stage.failures.iter().any(|known| known == name) {
                stage.failures.push(name.to_owned());
            }
        } else if line.starts_with("---- ") || line == "successes:" {
            // The output of a test, which may be indented as well.
            in_failures = false;
        }
    }
    stage.passed = stage.passed.saturating_sub(stage.skipped.len() as u64);
    // Names are for the reader, numbers are libtest's; they differ if a name was not found.
    stage.failures.truncate(failed as usize);
    stage.unnamed_failures = failed - stage.failures.len() as u64;
    for number in 0..ignored {
        stage.skipped.push(format!("an #[ignore]d test ({} of {ignored})", number + 1));
    }
    stage
}

/// `name: reason` of a skip. With `--nocapture` it may stand after `test name ... `.
fn skipped(line: &str) -> Option<String> {
    let rest = match line.strip_prefix("SKIPPED ") {
        Some(rest) => rest,
        None if line.starts_with("test ") => line.split_once(" ... SKIPPED ")?.1,
        None => return None,
    };
    rest.contains(": ").then(|| rest.to_owned())
}

/// The number before `word` in `ok. 5 passed; 0 failed; …`.
fn count(result: &str, word: &str) -> u64 {
    let mut parts = result.split([';', '.']).map(str::trim);
    let number = parts.find_map(|part| part.strip_suffix(word));
    number.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn results_of_several_executables_are_summed() {
        let stage = parse(&lines(
            "running 3 tests\n\
             test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; finished in 1.10s",
        ));
        assert_eq!((stage.passed, stage.failed(), stage.skipped.len()), (5, 1, 1));
    }

    #[test]
    fn skips_are_taken_off_the_passed_ones_wherever_they_stand() {
        let stage = parse(&lines(
            "test a ... SKIPPED a: needs root\nok\n\
             SKIPPED b: no ip6tables\n\
             test c ... ok\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        ));
        assert_eq!(stage.passed, 1);
        assert_eq!(stage.skipped, ["a: needs root", "b: no ip6tables"]);
    }

    #[test]
    fn failures_are_named_once_and_without_their_output() {
        let stage = parse(&lines(
            "failures:\n\n---- a::b stdout ----\n    indented\nthread panicked\n\n\n\
             failures:\n    a::b\n\n\
             test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
        ));
        assert_eq!(stage.failures, ["a::b"]);
        assert_eq!(stage.failed(), 1);
    }

    #[test]
    fn a_failure_without_a_name_still_counts() {
        let stage = parse(&lines("test result: FAILED. 0 passed; 2 failed; 0 ignored"));
        assert_eq!((stage.failures.len(), stage.failed()), (0, 2));
    }
}
