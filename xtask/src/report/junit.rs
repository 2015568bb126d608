//! The same results for machines: one JUnit file per stage. It never leaves out a case.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite, XmlString};

use crate::stage::{Outcome, Stage};

/// Writes `STAGE.xml` into a directory, which is made if need be.
pub(crate) fn write(dir: &Path, stage: &Stage) -> Result<()> {
    let path = dir.join(format!("{}.xml", stage.name));
    let text = to_xml(stage)?;
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn to_xml(stage: &Stage) -> Result<String> {
    let mut report = Report::new(stage.name.as_str());
    report.set_time(Duration::from_secs_f64(stage.seconds));
    let mut suites: Vec<TestSuite> = Vec::new();
    for case in &stage.cases {
        let status = match &case.outcome {
            Outcome::Passed => TestCaseStatus::success(),
            Outcome::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Outcome::Skipped(reason) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(reason.as_str());
                status
            }
        };
        let mut entry = TestCase::new(case.name.as_str(), status);
        entry.set_time(Duration::from_secs_f64(case.seconds));
        if !case.output.is_empty() {
            entry.set_system_out(case.output.as_str());
        }
        let name = if case.suite.is_empty() { &stage.name } else { &case.suite };
        let known = suites.iter().position(|suite| suite.name == XmlString::new(name));
        let at = known.unwrap_or_else(|| {
            suites.push(TestSuite::new(name.as_str()));
            suites.len() - 1
        });
        suites[at].add_test_case(entry);
    }
    report.add_test_suites(suites);
    report.to_string().with_context(|| format!("cannot write the results of {}", stage.name))
}

#[cfg(test)]
mod tests {
    use super::to_xml;
    use crate::stage::{Outcome, Stage};

    #[test]
    fn every_case_is_there_with_its_result() {
        let mut stage = Stage::new("unit", true);
        stage.add("a::b", Outcome::Passed);
        stage.add("a::c", Outcome::Failed);
        stage.add("a::d", Outcome::Skipped("needs <root>".into()));
        stage.cases[1].output = "left: \u{1b}[1m1".into();
        let xml = to_xml(&stage).expect("a report");
        assert!(xml.contains(r#"tests="3" failures="1""#), "{xml}");
        assert!(xml.contains("needs &lt;root&gt;"), "{xml}");
        assert!(!xml.contains('\u{1b}'), "{xml}");
    }
}
