//! Durations as people write them: `250us`, `50ms`, `1.5s`, `2m`. Never a bare number: its unit
//! would be a guess.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Reads a duration with its unit.
pub fn parse(text: &str) -> Result<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic());
    let (number, unit) = text.split_at(unit_at.with_context(|| format!("`{text}` has no unit"))?);
    let factor = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => anyhow::bail!("`{text}`: unknown unit `{unit}`; known: us, ms, s, m"),
    };
    let number: f64 = number.parse().with_context(|| format!("`{text}`: no number"))?;
    ensure!(number.is_finite() && (0.0..1e6).contains(&number), "`{text}` is out of range");
    Ok(Duration::from_secs_f64(number * factor))
}

/// Writes a duration so that [`parse`] reads it back, to the microsecond.
#[must_use]
pub fn show(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros.is_multiple_of(1000) { format!("{}ms", micros / 1000) } else { format!("{micros}us") }
}

#[cfg(test)]
mod tests {
    use super::{parse, show};
    use std::time::Duration;

    #[test]
    fn durations_need_a_unit_and_come_back() {
        assert_eq!(parse("50ms").unwrap(), Duration::from_millis(50));
        assert_eq!(parse("1.5s").unwrap(), Duration::from_millis(1500));
        for bad in ["50", "ms", "5h", "-1s", "1e9m"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for us in [0, 1, 1500, 2_000_000] {
            let duration = Duration::from_micros(us);
            assert_eq!(parse(&show(duration)).unwrap(), duration);
        }
    }
}
