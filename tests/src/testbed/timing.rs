//! How patient tests are. The one place for it: an emulated processor (`cargo xtask vm`) is many
//! times slower, and says so in `GUARD_TIME_SCALE`. Only upper bounds on time are scaled; lower
//! bounds, counts and outcomes never are.

use std::time::Duration;

/// Names how many times more time things may take; 1 without it.
pub const VARIABLE: &str = "GUARD_TIME_SCALE";

/// How many times longer than on a real machine things may take.
#[must_use]
pub fn scale() -> u32 {
    std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

/// The longest that something may take here, if it may take `limit` on a real machine.
#[must_use]
pub fn at_most(limit: Duration) -> Duration {
    limit * scale()
}

#[cfg(test)]
mod tests {
    use super::{at_most, scale};
    use std::time::Duration;

    #[test]
    fn limits_grow_together() {
        assert_eq!(at_most(Duration::from_secs(2)).as_secs(), u64::from(2 * scale()));
    }
}
