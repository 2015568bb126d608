//! How patient tests are. The one place for it: an emulated processor (`cargo xtask vm`) is many
//! times slower, and says so in `GUARD_TIME_SCALE`. Upper bounds on time are scaled, and repetitions;
//! lower bounds, what is counted and outcomes never are.

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

/// How often to do here what is done `count` times on a real machine to be surer of it.
#[must_use]
pub fn fewer(count: u32) -> u32 {
    (count / scale()).max(1)
}

#[cfg(test)]
mod tests {
    use super::{at_most, fewer, scale};
    use std::time::Duration;

    #[test]
    fn limits_grow_together() {
        assert_eq!(at_most(Duration::from_secs(2)).as_secs(), u64::from(2 * scale()));
        assert_eq!(fewer(1000), 1000 / scale());
        assert_eq!(fewer(1), 1);
    }
}
