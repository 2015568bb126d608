//! From what a guest sent to a stage with cases. Here everything that is not a pass is a failure:
//! a skipped test, a guest that panicked or hung, an executable that died.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use super::console;
use super::kernels::Kernel;
use super::qemu::{Ended, Files, Threads, run};
use crate::stage::{Case, Outcome, Stage};
use crate::test::parse::{DIED, Line, Parser};
use crate::test::second_try::{notes, passed_at_last};

/// Case that stands for the guest itself.
const GUEST: &str = "(the guest)";

/// What one guest did.
pub(super) struct Report {
    /// Its tests.
    pub(super) stage: Stage,
    /// What is good to know though nothing failed.
    pub(super) notes: Vec<String>,
}

/// Boots the kernel, and turns what comes back into a stage.
pub(super) fn of(
    kernel: &Kernel,
    initramfs: &Path,
    dir: &Path,
    deadline: Option<Instant>,
) -> Result<Report> {
    let mut files = Files::new(dir)?;
    let start = Instant::now();
    let mut reader = Reader::new(&kernel.name);
    let mut notes = Vec::new();
    let mut ended =
        run(kernel, initramfs, &files, Threads::One, deadline, |line| reader.line(line))?;
    if ended == Ended::NotBooted {
        // Nothing of guard has run yet: it is the emulator's doing. A kernel that cannot boot does
        // not at the second try either.
        notes.push(format!("{}: it did not come up, and was booted again", kernel.name));
        files = Files::new(dir)?;
        ended = run(kernel, initramfs, &files, Threads::One, deadline, |line| reader.line(line))?;
    }
    let Reader { parser, done, codes, last, .. } = reader;
    let mut cases = passed_at_last(parser.finish());
    died_after_its_result(&mut cases, &codes);
    nothing_is_skipped(&mut cases);
    if ended == Ended::OutOfTime {
        out_of_time(&mut cases, &last);
    }
    let console = console::read(&files.console)?;
    let complaint = console::complaint(&console);
    let wrong = match (&ended, complaint) {
        (Ended::Failed(how), _) => Some(how.clone()),
        (Ended::NotBooted, _) => Some("it did not come up, twice".to_owned()),
        (Ended::Hung(how), _) => Some(format!("it hung: {how}; last heard: {last}")),
        (Ended::ByItself | Ended::OutOfTime, Some(line)) => {
            Some(format!("the kernel complained: {line}"))
        }
        (Ended::ByItself, None) if !done => {
            // Who ends QEMU by a signal finds its name there.
            Some(format!("it ended before the suite did; last heard: {last}{}", files.qemu_said()))
        }
        (Ended::ByItself | Ended::OutOfTime, None) => None,
    };
    let wrong = wrong.map(|how| {
        let (tail, log) = (console::tail(&console), files.console.display());
        format!("{how}\nThe end of its console ({log}):\n{tail}\n")
    });
    let output = wrong.unwrap_or_default();
    let guest = Case::failure("", GUEST, output);
    cases.push(Case { outcome: guest.output.is_empty().into(), ..guest });
    let name = format!("vm-{}", kernel.name);
    let seconds = start.elapsed().as_secs_f64();
    notes.extend(cases.iter().flat_map(|case| notes_of(case, &kernel.name)));
    Ok(Report { stage: Stage { name, cases, seconds, tests: true }, notes })
}

/// What is said of a guest, or a part of its suite, that the time did not suffice for.
pub(super) const NO_TIME: &str = "the time given with --minutes was used up";

/// The executable that ran has not failed; what it and the later ones would have said is not known.
fn out_of_time(cases: &mut Vec<Case>, last: &str) {
    cases.retain(|case| case.name != DIED);
    let name = format!("(the rest of the suite, from `{}` on)", last.trim_end_matches(" ..."));
    let outcome = Outcome::Skipped(NO_TIME.to_owned());
    cases.push(Case { outcome, ..Case::failure("", &name, String::new()) });
}

/// Takes in lines as they come.
struct Reader {
    kernel: String,
    parser: Parser,
    done: bool,
    /// Exit codes by executable.
    codes: Vec<(String, String)>,
    /// The last line that said something.
    last: String,
    began: Instant,
}

impl Reader {
    fn new(kernel: &str) -> Self {
        Self {
            kernel: kernel.to_owned(),
            parser: Parser::default(),
            done: false,
            codes: Vec::new(),
            last: "nothing at all".to_owned(),
            began: Instant::now(),
        }
    }

    fn line(&mut self, line: &str) {
        if !line.trim().is_empty() {
            line.trim().clone_into(&mut self.last);
        }
        if let Some(word) = line.strip_prefix("guard-vm ") {
            if word == "done" {
                self.done = true;
            } else if let Some((name, code)) =
                word.strip_prefix("end ").and_then(|rest| rest.split_once(' '))
            {
                let name = name.rsplit_once('-').map_or(name, |(name, _)| name);
                self.codes.push((name.to_owned(), code.to_owned()));
            } else if let Some(scale) = word.strip_prefix("patience ") {
                eprintln!("  {:<7} its tests get {scale} times their time", self.kernel);
            } else if let Some(release) = word.strip_prefix("boot ") {
                let seconds = self.began.elapsed().as_secs_f64();
                eprintln!("  {:<7} Linux {release} is up, {seconds:.1} s", self.kernel);
            }
        }
        match self.parser.line(line) {
            Line::Began(_) => self.began = Instant::now(),
            Line::Ended(summary) if summary.has_tests() => {
                let seconds = self.began.elapsed().as_secs_f64();
                eprintln!("  {:<7} {}", self.kernel, summary.show(seconds));
            }
            Line::Cargo | Line::Inside | Line::Ended(_) => {}
        }
    }
}

/// An executable may say that all is well and die afterwards.
fn died_after_its_result(cases: &mut Vec<Case>, codes: &[(String, String)]) {
    for (suite, code) in codes.iter().filter(|(_, code)| code != "0") {
        let mut own = cases.iter().filter(|case| case.suite == *suite);
        if !own.any(|case| case.outcome == Outcome::Failed) {
            let output = format!("every test passed, yet the exit code is {code}");
            cases.push(Case::failure(suite, "(its exit code)", output));
        }
    }
}

/// A guest has all that tests can ask for: what leaves itself out is a failure.
fn nothing_is_skipped(cases: &mut [Case]) {
    for case in cases {
        if let Outcome::Skipped(reason) = &case.outcome {
            let text = format!("it left itself out, which no test may in a VM: {reason}\n");
            case.output.insert_str(0, &text);
            case.outcome = Outcome::Failed;
        }
    }
}

fn notes_of(case: &Case, kernel: &str) -> Vec<String> {
    notes(case).map(|note| format!("{kernel}: {note}")).collect()
}

/// Removes what only this run needed; logs stay.
pub(super) fn tidy(dir: &Path) {
    for name in ["initramfs.cpio", "stripped", "modules"] {
        let path = dir.join(name);
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = removed
            && path.exists()
        {
            eprintln!("cannot remove {}: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Reader, died_after_its_result, notes_of, nothing_is_skipped, out_of_time, passed_at_last,
    };
    use crate::stage::{Case, Outcome};

    fn read(text: &str) -> (Vec<Case>, bool, String) {
        let mut reader = Reader::new("6.1");
        text.lines().for_each(|line| reader.line(line));
        let Reader { parser, done, codes, last, .. } = reader;
        let mut cases = passed_at_last(parser.finish());
        died_after_its_result(&mut cases, &codes);
        nothing_is_skipped(&mut cases);
        (cases, done, last)
    }

    fn failed(cases: &[Case]) -> Vec<&str> {
        let failed = cases.iter().filter(|case| case.outcome == Outcome::Failed);
        failed.map(|case| case.name.as_str()).collect()
    }

    #[test]
    fn a_skip_is_a_failure_and_so_is_an_exit_code() {
        let (cases, done, _) = read(
            "guard-vm boot 6.1\n     Running x-1 (tests/x-1)\ntest a ... ok\ntest b ... ok\n\
             successes:\n\n---- b stdout ----\nSKIPPED b: no fq\n\n\
             test result: ok. 2 passed\n\nguard-vm end x-1 0\n\
             \u{20}    Running y-2 (tests/y-2)\ntest c ... ok\ntest result: ok. 1 passed\n\
             guard-vm end y-2 139\nguard-vm done",
        );
        assert_eq!(failed(&cases), ["b", "(its exit code)"]);
        assert!(cases[1].output.contains("no fq") && done);
    }

    #[test]
    fn a_second_try_counts_and_is_told() {
        let first = "     Running x-1 (tests/x-1)\ntest a ... FAILED\ntest b ... ok\n\
                     failures:\n\n---- a stdout ----\ntoo late\n\n\
                     test result: FAILED. 1 passed; 1 failed\n\n\
                     \u{20}    Running x-1 (tests/x-1)\n";
        let good = "test a ... ok\ntest result: ok. 1 passed\n\nguard-vm end x-1 0\nguard-vm done";
        let (cases, _, _) = read(&format!("{first}{good}"));
        assert_eq!((cases.len(), failed(&cases).len()), (2, 0));
        let told: Vec<_> = cases.iter().flat_map(|case| notes_of(case, "6.1")).collect();
        assert_eq!(told, ["6.1: x a failed, and passed when it was tried again"]);
        assert!(cases[0].output.contains("too late"), "{}", cases[0].output);
        let bad = "test a ... FAILED\ntest result: FAILED. 0 passed; 1 failed\n\n\
                   guard-vm end x-1 101\nguard-vm done";
        let (cases, _, _) = read(&format!("{first}{bad}"));
        assert_eq!((cases.len(), failed(&cases)), (2, vec!["a"]));
    }

    #[test]
    fn what_there_was_no_time_for_is_skipped_and_named() {
        let (mut cases, _, last) = read("     Running x-1 (tests/x-1)\ntest a ... ok\ntest b ... ");
        out_of_time(&mut cases, &last);
        assert!(failed(&cases).is_empty());
        assert_eq!(cases.len(), 2);
        assert!(cases[1].name.contains("`test b`"), "{}", cases[1].name);
        assert!(matches!(cases[1].outcome, Outcome::Skipped(_)));
    }

    #[test]
    fn a_guest_that_stops_names_the_test() {
        let (cases, done, last) = read("     Running x-1 (tests/x-1)\ntest a ... ok\ntest b ... ");
        assert_eq!((failed(&cases).len(), done, last.as_str()), (1, false, "test b ..."));
        assert!(cases[1].output.contains("`b`"), "{}", cases[1].output);
    }
}
