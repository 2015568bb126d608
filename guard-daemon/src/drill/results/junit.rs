//! `junit.xml`: one test case for each check, proof, bystander, the cleanup and the verdict. What
//! could not be told is skipped, never passed.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::phases::Phases;
use super::words::{self, one_line};
use crate::drill::Record;
use crate::drill::record::Verdict;

/// The text of the file.
pub(super) fn text(record: &Record) -> Result<String, String> {
    let name = one_line(&record.drill.name);
    let mut suite = TestSuite::new(name.as_str());
    suite.set_time(time(record.seconds));
    suite.add_property(("run_id", one_line(&record.run_id).as_str()));
    suite.add_property(("seed", record.seed.to_string().as_str()));
    suite.add_property(("host", one_line(&record.host).as_str()));
    suite.add_property(("kernel", one_line(&record.kernel).as_str()));
    suite.add_test_case(verdict(record));
    steady_states(record, &mut suite);
    proofs(record, &mut suite);
    bystanders(record, &mut suite);
    suite.add_test_case(cleanup(record));
    for case in &mut suite.test_cases {
        let class = case.classname.as_ref().map(|kind| format!("{name}.{}", kind.as_str()));
        case.set_classname(class.unwrap_or_else(|| name.clone()));
    }
    let mut report = Report::new(name.as_str());
    report.set_time(time(record.seconds));
    report.add_test_suite(suite);
    report.to_string().map_err(|error| format!("it does not fit into XML: {error}"))
}

/// Without this one, a run that was stopped would have nothing but skipped cases: green.
fn verdict(record: &Record) -> TestCase {
    let why = one_line(&record.why);
    let status = match (record.exit_code, record.verdict) {
        (0, _) => TestCaseStatus::success(),
        (_, Verdict::Deviated) => failure(NonSuccessKind::Failure, &why),
        _ => failure(NonSuccessKind::Error, &why),
    };
    let mut case = case("verdict", "the drill holds", status);
    case.set_time(time(record.seconds));
    case.set_system_out(format!(
        "status {}, verdict {}, exit {}: {why}",
        words::status(record.status),
        words::verdict(record.verdict),
        record.exit_code,
    ));
    case
}

fn steady_states(record: &Record, suite: &mut TestSuite) {
    let phases = Phases::of(record);
    for check in &record.checks {
        let first = check.first_miss_seconds.map(|at| format!(", first missed at {at:.1} s"));
        let what =
            format!("{}, limit {}{}", check.measured, check.limit, first.unwrap_or_default());
        let name = format!("{}: {}", words::phase(check.phase), check.name);
        let mut case = case("steady_state", &name, told(check.met, &what));
        let (start, end) = phases.window(check.phase);
        case.set_time(time(end - start));
        suite.add_test_case(case);
    }
}

fn proofs(record: &Record, suite: &mut TestSuite) {
    for proof in &record.proof {
        let fault = &proof.fault;
        let what = format!("asked for {}, measured {}", proof.asked, proof.measured);
        let name = words::fault(&fault.effect, &fault.bulkhead, &fault.service);
        suite.add_test_case(case("proof", &name, told(proof.met, &what)));
    }
}

fn bystanders(record: &Record, suite: &mut TestSuite) {
    for bystander in &record.collateral {
        let what = format!(
            "{} touched, none may be; {} calls in the drill",
            words::touched(bystander.touched),
            bystander.calls
        );
        let status = told(Some(bystander.touched == 0), &what);
        let name = format!("{} is not touched", bystander.bulkhead);
        suite.add_test_case(case("collateral", &name, status));
    }
}

fn cleanup(record: &Record) -> TestCase {
    let what = match record.cleanup.complete {
        None => "guardd could not be asked".to_owned(),
        _ => format!("left over: {}", record.cleanup.left_over.join("; ")),
    };
    let mut case = case("cleanup", "the host is as before", told(record.cleanup.complete, &what));
    case.set_time(time(record.cleanup.seconds));
    case
}

/// `what` is said of everything that did not pass.
fn told(met: Option<bool>, what: &str) -> TestCaseStatus {
    match met {
        Some(true) => TestCaseStatus::success(),
        Some(false) => failure(NonSuccessKind::Failure, &one_line(what)),
        None => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("cannot be told: {}", one_line(what)));
            status
        }
    }
}

fn failure(kind: NonSuccessKind, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(message);
    status
}

fn case(kind: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(one_line(name), status);
    case.set_classname(kind);
    case
}

fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
