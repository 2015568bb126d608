//! Whether something of guard's own that failed is tried again, and when: by a retry policy, within the
//! time that is left. It waits for nothing itself.

use std::time::Duration;

use crate::plan::RetryPolicyPlan;

/// Whoever says "at once" is asked again a moment later.
const SOONEST: Duration = Duration::from_millis(100);

/// After which pause try number `tried` + 1 is made, or why there is none. `asked`: how long the other
/// side asks to be left alone (Retry-After); it knows better than the policy. `left`: time in which it
/// must begin; a pause that does not fit is not begun.
///
/// # Errors
/// Why it is given up: one line.
pub fn again(
    policy: Option<&RetryPolicyPlan>,
    tried: u32,
    seed: u64,
    asked: Option<Duration>,
    left: Duration,
) -> Result<Duration, String> {
    let delay = policy.and_then(|policy| policy.delay(tried.saturating_sub(1), seed));
    let Some(delay) = delay else { return Err(format!("tried {tried} times")) };
    let pause = asked.map_or(delay, |asked| asked.max(SOONEST));
    if pause >= left {
        let (pause, left) = (pause.as_secs_f64(), left.as_secs_f64());
        return Err(format!(
            "tried {tried} times; the next try would be in {pause:.1} s, and {left:.1} s are left for it"
        ));
    }
    Ok(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_that_does_not_fit_is_not_begun() {
        let all = RetryPolicyPlan::built_in();
        let policy = all.iter().find(|policy| policy.name == crate::plan::RATE_LIMIT);
        let second = Duration::from_secs(1);
        let why = again(policy, 1, 0, None, 10 * second).unwrap_err();
        assert_eq!(
            why,
            "tried 1 times; the next try would be in 60.0 s, and 10.0 s are left for it"
        );
        assert_eq!(again(policy, 1, 0, Some(2 * second), 10 * second), Ok(2 * second));
        assert!(again(policy, 1, 0, Some(11 * second), 10 * second).is_err());
        assert_eq!(again(policy, 1, 0, None, 100 * second), Ok(60 * second));
        assert_eq!(again(policy, 4, 0, None, 100 * second), Err("tried 4 times".into()));
        assert_eq!(again(None, 1, 0, Some(second), 10 * second), Err("tried 1 times".into()));
        assert_eq!(again(policy, 1, 0, Some(Duration::ZERO), second), Ok(SOONEST));
    }
}
