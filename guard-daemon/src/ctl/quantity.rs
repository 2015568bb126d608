//! Quantities on the command line: times and shares, always with their unit, because `30` has
//! been read as seconds by one and as milliseconds by another.

use std::time::Duration;

/// Units of time with their nanoseconds, longest name first where one begins with another.
const UNITS: [(&str, f64); 6] =
    [("ms", 1e6), ("us", 1e3), ("s", 1e9), ("m", 60e9), ("h", 3600e9), ("d", 86400e9)];

/// The longest time that makes sense here: ten years.
const LONGEST_NS: f64 = 10.0 * 366.0 * 86400e9;

/// A time: `300ms`, `1.5s`, `1m30s`. Above zero.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let example = "write for example 300ms, 30s, 1m30s, 2h";
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(format!("empty; {example}"));
    }
    let mut total_ns = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let value: f64 = number
            .parse()
            .map_err(|_| format!("{rest:?} does not begin with a number; {example}"))?;
        if after.is_empty() {
            return Err(format!("{number} has no unit: write {number}s or {number}ms"));
        }
        let Some((unit, unit_ns)) = UNITS.iter().find(|(unit, _)| after.starts_with(unit)) else {
            let unit: String = after.chars().take_while(char::is_ascii_alphabetic).collect();
            let unit = if unit.is_empty() { after } else { &unit };
            return Err(format!("{unit:?} is not a unit of time: us, ms, s, m, h or d; {example}"));
        };
        total_ns += value * unit_ns;
        rest = &after[unit.len()..];
    }
    if total_ns < 1.0 {
        return Err(format!("must be above zero; {example}"));
    }
    if total_ns > LONGEST_NS {
        return Err("longer than ten years".into());
    }
    Ok(Duration::from_nanos(total_ns.round() as u64))
}

/// Two times: `5s/10s`.
pub(super) fn pulse(text: &str) -> Result<(Duration, Duration), String> {
    let (on, off) = text.split_once('/').ok_or("write for example 5s/10s: acts, then rests")?;
    Ok((duration(on)?, duration(off)?))
}

/// A share: `2%`, `0.5%`. Above 0, up to 100.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let Some(number) = text.strip_suffix('%') else {
        return Err(match text.parse::<f64>() {
            Ok(_) => format!("{text} has no unit: write {text}%"),
            Err(_) => format!("{text:?} is not a share; write for example 2% or 0.5%"),
        });
    };
    match number.trim_end().parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 100.0 => Ok(value),
        Ok(_) => Err(format!("{text} is not above 0% and up to 100%")),
        Err(_) => Err(format!("{number:?} is not a number; write for example 2% or 0.5%")),
    }
}

/// A data rate in bits per second: `1Mbit`.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    crate::config::rate(text.trim())
}

/// The name of an errno, in its form; guardd knows which there are.
pub(super) fn errno(text: &str) -> Result<String, String> {
    let is_name = text.starts_with('E')
        && text.len() > 2
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("not the name of an errno; write for example ECONNREFUSED or EHOSTUNREACH".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_units() {
        let milliseconds = |text| duration(text).map(|time| time.as_secs_f64() * 1e3);
        assert_eq!(milliseconds("300ms"), Ok(300.0));
        assert_eq!(milliseconds("1.5s"), Ok(1500.0));
        assert_eq!(milliseconds("1m30s"), Ok(90_000.0));
        assert_eq!(milliseconds("2h"), Ok(7_200_000.0));
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("1d"), Ok(Duration::from_hours(24)));
    }

    #[test]
    fn times_that_are_not() {
        assert!(duration("30").unwrap_err().contains("write 30s or 30ms"));
        assert!(duration("1m30").unwrap_err().contains("30 has no unit"));
        assert!(duration("3 s").unwrap_err().contains("not a unit"));
        assert!(duration("3sec").unwrap_err().contains("does not begin with a number"));
        assert!(duration("5parsec").unwrap_err().contains("\"parsec\" is not a unit"));
        for text in ["", "-5s", "s", "0s", "1e9s", "99999d", "1..5s", "NaNs", "infs"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares() {
        assert_eq!(percent("2%"), Ok(2.0));
        assert_eq!(percent("0.5 %"), Ok(0.5));
        assert_eq!(percent("100%"), Ok(100.0));
        assert!(percent("2").unwrap_err().contains("write 2%"));
        for text in ["0%", "-1%", "100.1%", "NaN%", "inf%", "%", "two", ""] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_errnos() {
        assert!(errno("EHOSTUNREACH").is_ok());
        for text in ["econnrefused", "111", "E", "HOST", "E UNREACH"] {
            assert!(errno(text).is_err(), "{text}");
        }
    }
}
