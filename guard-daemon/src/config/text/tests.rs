use std::time::Duration;

use super::*;

#[test]
fn durations() {
    for (text, ms) in
        [("0s", 0), ("250ms", 250), ("60s", 60_000), ("5m", 300_000), ("1h", 3_600_000)]
    {
        assert_eq!(duration::parse(text), Ok(Duration::from_millis(ms)), "{text}");
    }
    for (ms, text) in [(0, "0s"), (1, "1ms"), (1000, "1s"), (90_000, "90s"), (120_000, "2m")] {
        assert_eq!(duration::format(Duration::from_millis(ms)), text);
    }
}

#[test]
fn sizes() {
    assert_eq!(size::parse("2GiB"), Ok(2 << 30));
    assert_eq!(size::parse("1536MiB"), Ok(1536 << 20));
    assert_eq!(size::parse("7B"), Ok(7));
    assert_eq!(size::format(1536 << 20), "1536MiB");
    assert_eq!(size::format(3 << 30), "3GiB");
    assert_eq!(size::parse_percent("150%"), Ok(150.0));
    assert_eq!(size::parse_percent("12.5%"), Ok(12.5));
}

#[test]
fn suggestions_are_near_or_none() {
    let known = ["cpu_max", "memory_max", "pids_max", "retries"];
    assert_eq!(suggest::nearest("memroy_max", known), Some("memory_max"));
    assert_eq!(suggest::nearest("memory-max", known), Some("memory_max"));
    assert_eq!(suggest::nearest("cpu", known), Some("cpu_max"));
    assert_eq!(suggest::nearest("retrys", known), Some("retries"));
    assert_eq!(suggest::nearest("colour", known), None);
    assert_eq!(suggest::nearest("", known), None);
}

#[test]
fn what_is_shown_is_short_and_harmless() {
    assert_eq!(shown("a\u{1b}[31mb"), "a\\u{1b}[31mb");
    assert_eq!(shown(&"x".repeat(61)), format!("{}...", "x".repeat(60)));
}
