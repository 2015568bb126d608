//! `guardctl doctor`: checks, worst first, each that is not ok with why and cure. Cures are
//! never cut: they are wrapped instead.

use super::look::{Look, Tone};
use super::text::{clean, counted, wrap};
use crate::control::api::{Check, CheckResult, Doctor};

/// Column where texts begin, after the result and the name.
const RESULT_WIDTH: usize = 6;

/// All checks and their sum; ends with the exit code.
pub(in crate::ctl) fn doctor(answer: &Doctor, exit_code: u8, look: &Look) -> String {
    let mut checks: Vec<&Check> = answer.checks.iter().collect();
    checks.sort_by_key(|check| check.result);
    let name_width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let indent = RESULT_WIDTH + name_width + 2;
    let mut page = String::new();
    for check in &checks {
        let (tone, word) = match check.result {
            CheckResult::Failure => (Tone::Bad, "FAIL"),
            CheckResult::Warning => (Tone::Odd, "WARN"),
            CheckResult::Ok => (Tone::Good, "ok"),
        };
        let padding = " ".repeat(RESULT_WIDTH - word.len());
        let found = wrap(&clean(&check.found), indent, look.width);
        let name = clean(&check.name);
        page.push_str(&format!("{}{padding}{name:name_width$}  {found}\n", look.paint(tone, word)));
        for (title, text) in [("why", &check.why), ("cure", &check.cure)] {
            if !text.is_empty() {
                let margin = " ".repeat(indent);
                let text = wrap(&clean(text), indent + 6, look.width);
                page.push_str(&format!("{margin}{title:6}{text}\n"));
            }
        }
    }
    let number = |result| checks.iter().filter(|check| check.result == result).count();
    page.push_str(&format!(
        "{}: {} ok, {}, {}   exit {exit_code}\n",
        counted(checks.len(), "check", "checks"),
        number(CheckResult::Ok),
        counted(number(CheckResult::Warning), "warning", "warnings"),
        counted(number(CheckResult::Failure), "failure", "failures"),
    ));
    page
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;

    fn check(result: CheckResult, name: &str, found: &str, why: &str, cure: &str) -> Check {
        let [name, found, why, cure] = [name, found, why, cure].map(str::to_owned);
        Check { name, result, found, why, cure }
    }

    #[test]
    fn worst_first_with_why_and_cure() {
        let checks = vec![
            check(CheckResult::Ok, "kernel", "6.1.0-28, BTF (needs 5.18)", "", ""),
            check(
                CheckResult::Warning,
                "metrics",
                "127.0.0.1:9729 serves, but nobody has scraped it for 12m",
                "",
                "add the target to your Prometheus: configs/prometheus/scrape.yml",
            ),
            check(
                CheckResult::Failure,
                "cgroup",
                "research: \"agents/research\" lies in the root cgroup, which systemd owns",
                "systemd removes controllers that it does not know of, so that a memory_max may vanish without a word",
                "daemon.cgroup_root = \"auto\"",
            ),
        ];
        let answer = Doctor { schema: "guard.doctor/1".into(), checks };
        insta::assert_snapshot!(doctor(&answer, 1, &plain()), @r#"
    FAIL  cgroup   research: "agents/research" lies in the root cgroup, which systemd owns
                   why   systemd removes controllers that it does not know of, so that a memory_max
                         may vanish without a word
                   cure  daemon.cgroup_root = "auto"
    WARN  metrics  127.0.0.1:9729 serves, but nobody has scraped it for 12m
                   cure  add the target to your Prometheus: configs/prometheus/scrape.yml
    ok    kernel   6.1.0-28, BTF (needs 5.18)
    3 checks: 1 ok, 1 warning, 1 failure   exit 1
    "#);
    }

    #[test]
    fn none() {
        let answer = Doctor { schema: "guard.doctor/1".into(), checks: vec![] };
        assert_eq!(
            doctor(&answer, 0, &plain()),
            "0 checks: 0 ok, 0 warnings, 0 failures   exit 0\n"
        );
    }
}
