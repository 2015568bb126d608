//! Names of services, bulkheads, rules and policies: they become metric labels, command-line
//! arguments and directory names, so they are kept plain.

use super::{Problem, shown};

const LONGEST: usize = 63;

/// Checks a name: `[a-z0-9_-]{1,63}`, a letter or digit first.
pub(crate) fn check(name: &str) -> Result<(), Problem> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let first_good = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if name.is_empty() {
        return Err(Problem::new("is empty", "empty name", RULE));
    }
    if name.len() <= LONGEST && name.chars().all(good) && first_good {
        return Ok(());
    }
    if name.len() > LONGEST {
        return Err(Problem::new(
            format!("is {} bytes long", name.len()),
            format!("more than {LONGEST} characters"),
            RULE,
        ));
    }
    let label = match name.chars().find(|c| !good(*c)) {
        Some(c) => format!("`{}` is not allowed", shown(&c.to_string())),
        None => "must start with a letter or a digit".into(),
    };
    Err(Problem::new("is not a valid name", label, format!("{}{RULE}", suggestion(name))))
}

const RULE: &str =
    "names have 1 to 63 characters of a-z, 0-9, `_` and `-`, and start with a letter or a digit";

fn suggestion(name: &str) -> String {
    let fixed: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .collect();
    let fixed = fixed.trim_matches(|c| c == '-' || c == '_');
    if fixed.is_empty() { String::new() } else { format!("write `{fixed}`; ") }
}
