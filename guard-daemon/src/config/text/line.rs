//! Texts for people, of one line: they are shown in terminals and tables, so they hold no control
//! characters.

use super::Problem;

/// Checks a text of one line and of `min` to `max` characters.
pub(crate) fn check(text: &str, min: usize, max: usize) -> Result<(), Problem> {
    if text.chars().any(char::is_control) {
        return Err(Problem::new(
            "has a line break or another control character",
            "must be one line",
            "write it on one line, without tabs",
        ));
    }
    let length = text.chars().count();
    if (min..=max).contains(&length) {
        return Ok(());
    }
    let label = if length < min { "empty".into() } else { format!("more than {max} characters") };
    let help = "shorten it, or move the rest to a `#` comment";
    Err(Problem::new(
        format!("has {length} characters, allowed are {min} to {max}"),
        label,
        if length < min { "write what it is, or leave the key out" } else { help },
    ))
}
