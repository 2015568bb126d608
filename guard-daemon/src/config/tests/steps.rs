//! Steps of recoveries: what stands beside an action, and what does not fit to it.

use std::time::Duration;

use super::{brief, parse};
use crate::plan::StepPlan;

fn text(step: &str) -> String {
    format!(
        "[services.a]\nendpoints = [\"a.example\"]\n[bulkheads.b]\n[retry_policies.own]\nmax_retries = 1\n\
         [[recovery]]\nname = \"r\"\nwhen = {{ bulkhead = \"b\" }}\nsteps = [ {{ {step} }} ]\n"
    )
}

fn step(of: &str) -> StepPlan {
    parse("guard.toml", &text(of)).unwrap().plan.recovery.rules[0].steps[0].clone()
}

#[test]
fn a_step_has_a_time_and_a_policy() {
    let of = |of: &str| {
        let step = step(of);
        (step.timeout, step.retry)
    };
    assert_eq!(of("flush_dns = {}"), (Duration::from_secs(10), None));
    let own = Some("own".to_owned());
    assert_eq!(
        of("exec = [\"/a\"], timeout = \"1m\", retry = \"own\""),
        (Duration::from_mins(1), own)
    );
    let built_in = Some("network_error".to_owned());
    assert_eq!(of("retry = \"network_error\", thaw = {}"), (Duration::from_secs(10), built_in));
    assert_eq!(of("thaw = { timeout = \"2s\" }"), (Duration::from_secs(2), None));
}

#[test]
fn what_does_not_fit_is_told() {
    for (step, wrong) in [
        ("thaw = {}, retry = \"owm\"", "there is no retry policy `owm`"),
        ("retry = \"own\"", "must have exactly one action, not 0"),
        ("thaw = {}, freeze = {}, retry = \"own\"", "must have exactly one action, not 2"),
        ("thaw = { timeout = \"2s\" }, timeout = \"3s\"", "is given twice"),
        ("thaw = {}, timeout = \"2h\"", "out of range"),
        ("exec = [\"/a\"], user = \"no-such-user\"", "there is no user \"no-such-user\""),
        ("http = \"http://a/\", user = \"root\"", "says nothing to `http`"),
    ] {
        let errors = brief(&text(step));
        assert!(errors.len() == 1 && errors[0].contains(wrong), "{step}: {errors:?}");
    }
}
