//! Single values, one line each in `values.txt`, and what is said about them.

use super::*;

/// One line of `[daemon]`, `[services.a]` or `[bulkheads.a]`, and a piece of what must be said.
#[test]
fn single_values() {
    let table = include_str!("values.txt");
    let (mut count, mut failed) = (0, Vec::new());
    for case in table.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let (line, wanted) = case.split_once(" => ").unwrap_or_else(|| panic!("{case}"));
        let (table, line) = line.split_once(' ').unwrap_or((line, ""));
        let text = match table {
            "root" => line.to_owned(),
            "endpoint" => format!("[services.a]\nendpoints = [{line}]\n"),
            "service" => format!("[services.a]\nendpoints = [\"a.example\"]\n{line}\n"),
            "bulkhead" => format!("[bulkheads.a]\n{line}\n"),
            "schedule" => format!("[[schedule]]\n{line}\n"),
            "rule" => format!("[[recovery]]\nname = \"a\"\nwhen = {{}}\n{line}\n"),
            other => format!("[{other}]\n{line}\n"),
        };
        let said: Vec<String> = match parse("guard.toml", &text) {
            Ok(_) => vec!["nothing: accepted".to_owned()],
            Err(errors) => errors.diagnostics.iter().map(ToString::to_string).collect(),
        };
        if !said.iter().any(|s| s.contains(wanted)) {
            failed.push(format!("{case}\nsaid: {said:#?}"));
        }
        count += 1;
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(count > 100, "{count} cases");
}
