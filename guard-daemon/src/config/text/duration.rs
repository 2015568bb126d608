//! Durations: a whole number and one of `ms`, `s`, `m`, `h`, without a space.

use std::time::Duration;

use super::{Problem, shown};

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
const UNITS_HELP: &str = "units are \"ms\", \"s\", \"m\" and \"h\"";

/// Reads a duration.
pub(crate) fn parse(text: &str) -> Result<Duration, Problem> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if text.starts_with('-') {
        return Err(Problem::new(
            "cannot be negative",
            "negative",
            "write a duration such as \"60s\"",
        ));
    }
    if digits == 0 {
        return Err(not_a_duration(text));
    }
    if unit.is_empty() {
        return Err(bare_number(number));
    }
    let Some((_, factor_ms)) = UNITS.iter().find(|(u, _)| *u == unit) else {
        return Err(bad_unit(text, number, unit));
    };
    let value_ms = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor_ms));
    value_ms
        .map(Duration::from_millis)
        .ok_or_else(|| Problem::new("is longer than any clock can measure", "too long", UNITS_HELP))
}

/// What to say about `60` and `"60"`.
pub(crate) fn bare_number(number: &str) -> Problem {
    let number = shown(number);
    Problem::new(
        "needs a unit",
        "a number without a unit",
        format!("write \"{number}s\" for seconds, \"{number}ms\" for milliseconds; {UNITS_HELP}"),
    )
}

fn not_a_duration(text: &str) -> Problem {
    Problem::new(
        format!("is not a duration: \"{}\"", shown(text)),
        "not a duration",
        format!("write a whole number and a unit, such as \"250ms\" or \"60s\"; {UNITS_HELP}"),
    )
}

fn bad_unit(text: &str, number: &str, unit: &str) -> Problem {
    let trimmed = unit.trim();
    if let Some(meant) = meant_unit(trimmed) {
        let written = format!("{number}{meant}");
        return Problem::new(
            format!("has an unknown unit `{}`", shown(unit)),
            "unknown unit",
            format!("write \"{written}\"; {UNITS_HELP}"),
        );
    }
    if let Some(ms) = fraction_ms(text) {
        return Problem::new(
            "must be a whole number of its unit",
            "a fraction",
            format!("write \"{}\"", format(Duration::from_millis(ms))),
        );
    }
    Problem::new(
        format!("has an unknown unit `{}`", shown(unit)),
        "unknown unit",
        format!("write a whole number and one unit, such as \"90s\"; {UNITS_HELP}"),
    )
}

fn meant_unit(unit: &str) -> Option<&'static str> {
    Some(match unit.to_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        _ => return None,
    })
}

/// `"1.5s"` in milliseconds, if it is a whole number of them.
fn fraction_ms(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    let (_, factor_ms) = UNITS.iter().find(|(u, _)| *u == unit)?;
    let ms = number.parse::<f64>().ok()? * *factor_ms as f64;
    ((1.0..1e15).contains(&ms) && ms.fract() == 0.0).then_some(ms as u64)
}

/// The duration in its largest exact unit.
pub(crate) fn format(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms == 0 {
        return "0s".into();
    }
    UNITS.iter().rev().find(|(_, factor)| ms.is_multiple_of(u128::from(*factor))).map_or_else(
        || format!("{ms}ms"),
        |(unit, factor)| format!("{}{unit}", ms / u128::from(*factor)),
    )
}
