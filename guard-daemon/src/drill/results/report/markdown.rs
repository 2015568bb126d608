//! Markdown that says what the text says: nothing from outside becomes a heading, a link or a cell.

use super::super::words::one_line;
use crate::ctl::view::text::clean;

/// What Markdown (with GitHub's tables and formulas) gives a meaning inside a line.
const SPECIAL: &str = "\\`*_[]<>&|~$";

/// A text inside a line. Not for the beginning of one: `#` and `-` mean something there.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in one_line(text).chars() {
        if SPECIAL.contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// A line of a list.
pub(super) fn item(text: &str) -> String {
    let text = escape(text);
    let number = text.chars().take_while(char::is_ascii_digit).count();
    // What would begin a heading, a list or a line across the page.
    match text.chars().nth(number) {
        Some('#' | '-' | '+' | '=' | '.' | ')') => {
            let (number, rest) = text.split_at(number);
            format!("* {number}\\{rest}\n")
        }
        _ => format!("* {text}\n"),
    }
}

/// A table of plain texts, with an empty line at its end.
pub(super) fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &mut dyn Iterator<Item = String>| {
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut table = line(&mut titles.iter().map(|title| escape(title)));
    table.push_str(&line(&mut titles.iter().map(|_| "---".to_owned())));
    for row in rows {
        table.push_str(&line(&mut row.iter().map(|cell| escape(cell))));
    }
    table.push('\n');
    table
}

/// A text as it is, in a box that no line of it can end.
pub(super) fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let lines: Vec<String> = text.lines().map(visible).collect();
    format!("{fence}{language}\n{}\n{fence}\n\n", lines.join("\n"))
}

/// Without control characters, except tabs.
fn visible(line: &str) -> String {
    line.split('\t').map(clean).collect::<Vec<_>>().join("\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_has_a_meaning() {
        assert_eq!(escape("a|b\n*c* [d](e) <f> `g`"), r"a\|b \*c\* \[d\](e) \<f\> \`g\`");
        let table = table(&["A", "B"], &[vec!["x|y".into(), "\n# z".into()]]);
        assert_eq!(table, "| A | B |\n| --- | --- |\n| x\\|y | # z |\n\n");
    }

    #[test]
    fn a_line_of_a_list_is_no_heading_or_list() {
        assert_eq!(item("# a"), "* \\# a\n");
        assert_eq!(item("- a"), "* \\- a\n");
        assert_eq!(item("12. a"), "* 12\\. a\n");
        assert_eq!(item("10.0.0.1 a"), "* 10\\.0.0.1 a\n");
        assert_eq!(item("rule 3"), "* rule 3\n");
    }

    #[test]
    fn a_box_is_ended_by_nothing_in_it() {
        let text = fenced("toml", "a = 1\n````\n\tb\u{1b}");
        assert_eq!(text, "`````toml\na = 1\n````\n\tb\\u{1b}\n`````\n\n");
    }
}
