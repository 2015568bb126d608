//! docs/verifier.md: what the verifier of each kernel says of each program. The numbers come from
//! test output; it never invents one, and columns of kernels that did not run stay as they are.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::cargo;
use crate::executables::PACKAGES;
use crate::stage::Stage;

/// The page, from the top of the repository.
const PAGE: &str = "docs/verifier.md";
/// Headings of the two tables.
const TABLES: [&str; 2] = ["## Instructions processed", "## Stack, bytes"];
/// Test that prints the numbers.
pub(super) const TEST: &str = "root_no_program_has_grown_by_a_tenth";
/// Of the gates, which differ in one constant, the table has the first.
const FIRST_GATE: &str = "guard_gate_0";

/// Numbers of one kernel by program: instructions and stack.
pub(super) type Numbers = BTreeMap<String, [u32; 2]>;

/// Reads `VERIFIER program instructions stack` from the output of tests.
pub(super) fn numbers(stage: &Stage) -> Numbers {
    let lines = stage.cases.iter().flat_map(|case| case.output.lines());
    lines.filter_map(|line| number(line.strip_prefix("VERIFIER ")?)).collect()
}

fn number(line: &str) -> Option<(String, [u32; 2])> {
    let mut words = line.split(' ');
    let (name, instructions, stack) = (words.next()?, words.next()?, words.next()?);
    let wanted = !name.starts_with("guard_gate_") || name == FIRST_GATE;
    wanted.then_some((name.to_owned(), [instructions.parse().ok()?, stack.parse().ok()?]))
}

/// Numbers of this machine's kernel, if we are root here.
pub(super) fn here() -> Result<Option<(String, Numbers)>> {
    if !nix::unistd::geteuid().is_root() {
        println!("not root: the column of this machine's kernel stays as it is");
        return Ok(None);
    }
    let mut command = cargo::cargo(&["test", "-q", "--test", "kernel"])?;
    command.args(PACKAGES).args(["--", "--show-output", TEST]);
    cargo::show(&command);
    let output = command.output().context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Numbers =
        text.lines().filter_map(|line| number(line.strip_prefix("VERIFIER ")?)).collect();
    ensure!(!numbers.is_empty(), "this machine's kernel gave no numbers:\n{text}");
    let release = nix::sys::utsname::uname().context("which kernel is this?")?;
    Ok(Some((release.release().to_string_lossy().into_owned(), numbers)))
}

/// Puts the numbers into the page, as the columns of their releases (`6.12`).
pub(super) fn update(measured: &[(String, Numbers)]) -> Result<()> {
    let path = cargo::root()?.join(PAGE);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    fs::write(&path, updated(&text, measured)?).with_context(|| format!("cannot write {PAGE}"))?;
    println!("{PAGE} has new numbers: look at `git diff {PAGE}`, and say in the commit why");
    Ok(())
}

fn updated(text: &str, measured: &[(String, Numbers)]) -> Result<String> {
    let mut text = text.to_owned();
    for (index, heading) in TABLES.into_iter().enumerate() {
        let (before, rest) = text
            .split_once(&format!("{heading}\n"))
            .with_context(|| format!("{PAGE} has no heading `{heading}`"))?;
        let old: Vec<&str> = rest.lines().skip_while(|line| line.is_empty()).collect();
        let rows = old.iter().take_while(|line| line.starts_with('|')).count();
        let mut table = Table::parse(&old[..rows])?;
        for (release, numbers) in measured {
            ensure!(!numbers.is_empty(), "no numbers came from Linux {release}");
            table.columns.insert(
                version(release)?,
                numbers.iter().map(|(name, both)| (name.clone(), both[index])).collect(),
            );
        }
        let after = old[rows..].join("\n");
        text = format!("{before}{heading}\n\n{}{after}\n", table.render());
    }
    Ok(format!("{}\n", text.trim_end()))
}

/// Columns in the order of the releases.
struct Table {
    columns: BTreeMap<(u32, u32), BTreeMap<String, u32>>,
}

impl Table {
    fn parse(rows: &[&str]) -> Result<Self> {
        let cells = |row: &str| -> Vec<String> {
            row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let mut columns = BTreeMap::new();
        let Some((head, rows)) = rows.split_first() else { return Ok(Self { columns }) };
        for (at, release) in cells(head).iter().enumerate().skip(1) {
            let column = rows.iter().filter_map(|row| {
                let row = cells(row);
                Some((row[0].clone(), row.get(at)?.replace(' ', "").parse().ok()?))
            });
            columns.insert(version(release)?, column.collect());
        }
        Ok(Self { columns })
    }

    fn render(&self) -> String {
        let mut names: Vec<&String> = self.columns.values().flat_map(BTreeMap::keys).collect();
        names.sort();
        names.dedup();
        let row = |first: &str, cell: &dyn Fn(&(u32, u32)) -> String| {
            let cells: Vec<String> = self.columns.keys().map(cell).collect();
            format!("| {first} | {} |\n", cells.join(" | "))
        };
        let mut text = row("program", &|(major, minor)| format!("{major}.{minor}"));
        text.extend(["|---|", &"---:|".repeat(self.columns.len()), "\n"]);
        for name in names {
            text.push_str(&row(name, &|release| {
                self.columns[release].get(name).map_or_else(|| "-".to_owned(), |n| grouped(*n))
            }));
        }
        text
    }
}

/// `6.12` of `6.12.95+deb12-cloud-amd64`, as numbers, so that 6.2 comes before 6.12.
fn version(release: &str) -> Result<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => bail!("`{release}` is not a kernel's release"),
    }
}

/// `76 236`.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut parts: Vec<&str> = Vec::new();
    if first > 0 {
        parts.push(&digits[..first]);
    }
    parts.extend((first..digits.len()).step_by(3).map(|at| &digits[at..at + 3]));
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Numbers, grouped, number, updated};

    const PAGE: &str = "# Title\n\n## Instructions processed\n\n| program | 6.1 | 6.12 |\n\
                        |---|---:|---:|\n| a | 1 000 | 7 |\n\nText.\n\n## Stack, bytes\n";

    #[test]
    fn columns_are_replaced_added_and_kept() {
        let numbers = Numbers::from([("a".to_owned(), [1200, 64]), ("b".to_owned(), [3, 8])]);
        let measured =
            [("6.12.95+deb12".to_owned(), numbers.clone()), ("7.3.4".to_owned(), numbers)];
        let text = updated(PAGE, &measured).unwrap();
        assert!(text.contains("| program | 6.1 | 6.12 | 7.3 |"), "{text}");
        assert!(
            text.contains("| a | 1 000 | 1 200 | 1 200 |\n| b | - | 3 | 3 |\n\nText."),
            "{text}"
        );
        assert!(text.contains("## Stack, bytes\n\n| program | 6.12 | 7.3 |"), "{text}");
        assert!(text.ends_with("| b | 8 | 8 |\n"), "{text}");
        assert_eq!(updated(&text, &measured).unwrap(), text, "nothing to change");
    }

    #[test]
    fn a_kernel_without_numbers_is_an_error() {
        assert!(updated(PAGE, &[("6.1".to_owned(), Numbers::new())]).is_err());
    }

    #[test]
    fn lines_and_numbers() {
        assert_eq!(number("guard_egress 68936 320").unwrap().1, [68936, 320]);
        assert_eq!(number("guard_gate_7 1 2"), None);
        assert_eq!((grouped(7).as_str(), grouped(76_236).as_str()), ("7", "76 236"));
        assert_eq!(grouped(1_000_000), "1 000 000");
    }
}
