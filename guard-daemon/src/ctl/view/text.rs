//! Numbers and words for people: durations, bytes, counts, shares; cut, cleaned and wrapped.

/// Without control characters: they become `\u{1b}` and the like.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || is_invisible(letter) {
            cleaned.extend(letter.escape_default());
        } else {
            cleaned.push(letter);
        }
    }
    cleaned
}

/// Marks that turn the direction of text around, and the like.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Not wider than `width`; what is cut ends in `...`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(3)).collect();
    format!("{kept}{}", &"..."[..width.min(3)])
}

/// Words over lines of `width`, every line after the first indented by `indent`; the first is
/// taken to begin at column `indent` too.
pub(crate) fn wrap(text: &str, indent: usize, width: usize) -> String {
    let room = width.saturating_sub(indent).max(20);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line_length = lines.last().map_or(0, |line| line.chars().count());
        if line_length > 0 && line_length + 1 + word.chars().count() > room {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

/// `412ms`, `1.9s`, `38s`, `3m12s`, `2h05m`, `3d04h`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".into();
    }
    if seconds == 0.0 {
        return "0s".into();
    }
    let whole = seconds.round() as u64;
    // The limits are those of the rounded figure: 59.7 s is 1m00s, not 60s.
    if seconds < 0.000_999_5 {
        format!("{:.0}us", seconds * 1e6)
    } else if seconds < 0.009_95 {
        format!("{:.1}ms", seconds * 1e3)
    } else if seconds < 0.999_5 {
        format!("{:.0}ms", seconds * 1e3)
    } else if seconds < 9.95 {
        format!("{seconds:.1}s")
    } else if whole < 60 {
        format!("{whole}s")
    } else if whole < 3600 {
        format!("{}m{:02}s", whole / 60, whole % 60)
    } else if whole < 86400 {
        format!("{}h{:02}m", whole / 3600, whole % 3600 / 60)
    } else {
        format!("{}d{:02}h", whole / 86400, whole % 86400 / 3600)
    }
}

/// `0 B`, `1.2 KiB`, `3.0 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        // 1023.95 would be shown as 1024.0 of the smaller unit.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// `1 204`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 process`, `2 processes`.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number as u64), if number == 1 { one } else { many })
}

/// A ratio as percent: `99.4`. Rounded down, so that 100.0 means every one.
pub(crate) fn percent(ratio: f64) -> String {
    if ratio.is_finite() {
        // The small part undoes the binary fraction: 0.994 * 1000 is 993.99...
        format!("{:.1}", (ratio * 1000.0 + 1e-9).floor() / 10.0)
    } else {
        "?".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let shown = |seconds| duration(seconds);
        for (seconds, text) in [
            (0.0, "0s"),
            (0.000_21, "210us"),
            (0.004_2, "4.2ms"),
            (0.412, "412ms"),
            (0.999_6, "1.0s"),
            (1.94, "1.9s"),
            (9.96, "10s"),
            (38.2, "38s"),
            (59.7, "1m00s"),
            (192.0, "3m12s"),
            (3599.6, "1h00m"),
            (7500.0, "2h05m"),
            (273_600.0, "3d04h"),
            (f64::NAN, "?"),
            (-1.0, "?"),
        ] {
            assert_eq!(shown(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn bytes_counts_and_shares() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1229), "1.2 KiB");
        assert_eq!(bytes(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1204), "1 204");
        assert_eq!(count(1_234_567), "1 234 567");
        assert_eq!(percent(0.994), "99.4");
        assert_eq!(percent(0.9999), "99.9");
        assert_eq!(percent(1.0), "100.0");
    }

    #[test]
    fn nothing_from_outside_controls_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\n\u{202e}c"), "a\\u{1b}[31mb\\n\\u{202e}c");
        assert_eq!(clean("caf\u{e9}"), "caf\u{e9}");
    }

    #[test]
    fn cutting_and_wrapping() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abc...");
        assert_eq!(cut("abcdefg", 2), "..");
        let wrapped = wrap("one two three four five six seven", 2, 22);
        assert_eq!(wrapped, "one two three four\n  five six seven");
    }
}
