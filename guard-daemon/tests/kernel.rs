//! The kernel side against the real kernel: needs root.
#![allow(clippy::unwrap_used, reason = "helpers of tests, where a panic is the report")]

use std::collections::BTreeMap;

use guard_daemon::kernel::{Kernel, LoadOptions};

/// How much more a program may cost than docs/verifier.md says.
const GROWTH_MAX: f64 = 1.2;

fn loaded() -> Option<Kernel> {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED kernel: loading programs needs root");
        return None;
    }
    let mut kernel = Kernel::load(LoadOptions { pairs: 100, endpoints: 100 }).unwrap();
    kernel.verify_gates().unwrap();
    Some(kernel)
}

/// `6.18` of `6.18.44-fc`.
fn release() -> String {
    let name = nix::sys::utsname::uname().unwrap();
    name.release().to_str().unwrap().split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The column of a kernel in the table of docs/verifier.md, by program.
fn table(release: &str) -> Option<BTreeMap<String, u32>> {
    let text = include_str!("../../docs/verifier.md");
    let mut rows = text
        .lines()
        .filter_map(|line| line.strip_prefix('|'))
        .map(|line| line.trim_end_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    let head = rows.find(|cells| cells[0] == "program")?;
    let column = head.iter().position(|cell| *cell == release)?;
    let counts = rows.filter_map(|cells| {
        Some((cells[0].to_owned(), cells.get(column)?.replace(' ', "").parse().ok()?))
    });
    Some(counts.collect())
}

#[test]
fn root_every_program_passes_the_verifier() {
    let Some(kernel) = loaded() else { return };
    for (name, count) in kernel.verified_instructions() {
        println!("{name} {count}");
    }
    assert!(kernel.knows_errors(), "this kernel has BTF, so the errno of sockets can be read");
}

#[test]
fn root_no_program_has_grown_by_a_fifth() {
    let Some(kernel) = loaded() else { return };
    let release = release();
    let Some(table) = table(&release) else {
        println!("SKIPPED no_program_has_grown: docs/verifier.md has no column for {release}");
        return;
    };
    for (name, count) in kernel.verified_instructions() {
        // The gates differ in one constant; the table has the first.
        let row = if name.starts_with("guard_gate_") { "guard_gate_0" } else { &name };
        let known = table.get(row).unwrap_or_else(|| panic!("docs/verifier.md lacks {row}"));
        assert!(
            f64::from(count) <= f64::from(*known) * GROWTH_MAX,
            "{name} needs {count} instructions, docs/verifier.md says {known}: make it smaller, or \
             change the table and say why"
        );
    }
}
