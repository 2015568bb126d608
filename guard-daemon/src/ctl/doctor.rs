//! `guardctl doctor`: asks guardd; without one, checks what can be checked from here, so that a
//! host can be looked at before the first start.

use super::client::{Client, ClientError};
use super::output::Output;
use super::view;
use crate::control::api::{Check, CheckResult, Doctor, ErrorBody};
use crate::daemon;

/// 0 without a failure, else 1.
pub(super) async fn run(client: &Client, output: &Output) -> Result<u8, ErrorBody> {
    let mut answer = match client.patient().get::<Doctor>("/v1/doctor").await {
        Ok(answer) => answer,
        Err(error @ ClientError::NoDaemon { .. }) => without_daemon(&error),
        Err(error) => return Err(error.into()),
    };
    answer.checks.sort_by_key(|check| check.result);
    let failed = answer.checks.iter().any(|check| check.result == CheckResult::Failure);
    let exit_code = u8::from(failed);
    output.answer(&answer, |look| view::doctor(&answer, exit_code, look))?;
    Ok(exit_code)
}

fn without_daemon(error: &ClientError) -> Doctor {
    let mut checks = daemon::doctor_offline();
    checks.push(Check {
        name: "daemon".into(),
        result: CheckResult::Warning,
        found: error.to_string(),
        why: "only what can be seen without guardd was checked".into(),
        cure: "systemctl start guardd, then once more: guardctl doctor".into(),
    });
    Doctor { schema: "guard.doctor/1".into(), checks }
}
