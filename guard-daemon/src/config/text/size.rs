//! Sizes (`"512MiB"`) and percentages (`"150%"`).

use super::{Problem, shown};

const UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
const UNITS_HELP: &str = "units are \"B\", \"KiB\", \"MiB\", \"GiB\" and \"TiB\" (powers of 1024)";

/// Reads a size, in bytes.
pub(crate) fn parse(text: &str) -> Result<u64, Problem> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if text.starts_with('-') {
        return Err(Problem::new(
            "cannot be negative",
            "negative",
            "write a size such as \"2GiB\"",
        ));
    }
    if digits == 0 {
        return Err(Problem::new(
            format!("is not a size: \"{}\"", shown(text)),
            "not a size",
            format!("write a whole number and a unit, such as \"512MiB\"; {UNITS_HELP}"),
        ));
    }
    if unit.is_empty() {
        return Err(bare_number(number));
    }
    let Some((_, factor)) = UNITS.iter().find(|(u, _)| *u == unit) else {
        return Err(bad_unit(number, unit));
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(*factor))
        .ok_or_else(|| Problem::new("is larger than any memory", "too large", UNITS_HELP))
}

/// What to say about `512` and `"512"`.
pub(crate) fn bare_number(number: &str) -> Problem {
    let number = shown(number);
    Problem::new(
        "needs a unit",
        "a number without a unit",
        format!("write \"{number}MiB\" or \"{number}B\"; {UNITS_HELP}"),
    )
}

fn bad_unit(number: &str, unit: &str) -> Problem {
    let meant = match unit.trim().to_lowercase().as_str() {
        "b" | "bytes" => Some("B"),
        "k" | "kb" | "kib" => Some("KiB"),
        "m" | "mb" | "mib" => Some("MiB"),
        "g" | "gb" | "gib" => Some("GiB"),
        "t" | "tb" | "tib" => Some("TiB"),
        _ => None,
    };
    let help = match meant {
        Some(meant) => format!("write \"{}{meant}\"; {UNITS_HELP}", shown(number)),
        None => format!("write a whole number and a unit, such as \"512MiB\"; {UNITS_HELP}"),
    };
    Problem::new(format!("has an unknown unit `{}`", shown(unit)), "unknown unit", help)
}

/// The size in its largest exact unit.
pub(crate) fn format(bytes: u64) -> String {
    UNITS
        .iter()
        .rev()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .map_or_else(|| format!("{bytes}B"), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

/// Reads a percentage.
pub(crate) fn parse_percent(text: &str) -> Result<f64, Problem> {
    let example = "write a percentage such as \"150%\"";
    let Some(number) = text.strip_suffix('%') else {
        return Err(match text.parse::<f64>() {
            Ok(_) => bare_percent(text),
            Err(_) => Problem::new(
                format!("is not a percentage: \"{}\"", shown(text)),
                "not a percentage",
                example,
            ),
        });
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    number.parse::<f64>().ok().filter(|n| plain && n.is_finite()).ok_or_else(|| {
        Problem::new(
            format!("is not a percentage: \"{}\"", shown(text)),
            "not a percentage",
            example,
        )
    })
}

/// What to say about `150` and `"150"`.
pub(crate) fn bare_percent(number: &str) -> Problem {
    Problem::new(
        "needs a percent sign",
        "a number without `%`",
        format!("write \"{}%\"", shown(number)),
    )
}
