//! Data rates (`"1Mbit"`): bits per second, powers of 1000, as network people and `tc` write them.

use super::{Problem, shown};

const UNITS: [(&str, f64); 4] = [("bit", 1.0), ("kbit", 1e3), ("Mbit", 1e6), ("Gbit", 1e9)];
const UNITS_HELP: &str =
    "units are \"bit\", \"kbit\", \"Mbit\" and \"Gbit\" per second (powers of 1000)";

/// Reads a rate, in bits per second.
pub(crate) fn parse(text: &str) -> Result<u64, Problem> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let Ok(value) = number.parse::<f64>() else {
        return Err(Problem::new(
            format!("is not a rate: \"{}\"", shown(text)),
            "not a rate",
            format!("write a number and a unit, such as \"1Mbit\"; {UNITS_HELP}"),
        ));
    };
    if unit.is_empty() {
        return Err(bare_number(number));
    }
    let Some((_, factor)) = UNITS.iter().find(|(known, _)| *known == unit) else {
        return Err(bad_unit(number, unit));
    };
    Ok((value * factor).round() as u64)
}

/// What to say about `512` and `"512"`.
pub(crate) fn bare_number(number: &str) -> Problem {
    let number = shown(number);
    Problem::new(
        "needs a unit",
        "a number without a unit",
        format!("write \"{number}Mbit\" or \"{number}kbit\"; {UNITS_HELP}"),
    )
}

fn bad_unit(number: &str, unit: &str) -> Problem {
    // Bytes are the usual slip: eight times as much.
    let meant = match unit.trim().to_lowercase().trim_end_matches("/s").trim_end_matches("ps") {
        "b" | "bits" => Some("bit"),
        "k" | "kb" | "kbits" | "kbit" => Some("kbit"),
        "m" | "mb" | "mbits" | "mbit" => Some("Mbit"),
        "g" | "gb" | "gbits" | "gbit" => Some("Gbit"),
        _ => None,
    };
    let help = match meant {
        Some(meant) => format!("write \"{}{meant}\" (bits); {UNITS_HELP}", shown(number)),
        None => UNITS_HELP.to_owned(),
    };
    Problem::new(format!("has an unknown unit \"{}\"", shown(unit)), "unknown unit", help)
}

/// `1.5Mbit`: as it is written.
pub(crate) fn format(bits_per_second: u64) -> String {
    let number = bits_per_second as f64;
    let units = UNITS.iter().rev();
    let (unit, factor) = units.copied().find(|(_, of)| number >= *of).unwrap_or(("bit", 1.0));
    format!("{}{unit}", (number / factor * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_with_units() {
        for (text, expected) in
            [("8000bit", 8_000), ("56kbit", 56_000), ("1.5Mbit", 1_500_000), ("1Gbit", 1 << 30)]
        {
            let expected = if text == "1Gbit" { 1_000_000_000 } else { expected };
            assert_eq!(parse(text).unwrap(), expected, "{text}");
            assert_eq!(parse(&format(expected)).unwrap(), expected);
        }
    }

    #[test]
    fn slips_are_told_what_is_meant() {
        for (text, part) in [
            ("5", "5Mbit"),
            ("", "1Mbit"),
            ("fast", "1Mbit"),
            ("5MB", "5Mbit"),
            ("5Mbps", "5Mbit"),
            ("5mbit", "5Mbit"),
            ("5 furlongs", "units are"),
            ("-1Mbit", "1Mbit"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.help.contains(part), "{text}: {problem:?}");
        }
    }
}
