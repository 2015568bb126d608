//! The kernel programs against the verifier of the running kernel: needs root.
#![allow(clippy::unwrap_used, reason = "helpers of tests, where a panic is the report")]

use std::collections::BTreeMap;

use guard_daemon::kernel::{Kernel, LoadOptions, verifier_statistics};

/// How much more a program may cost than docs/verifier.md says.
const GROWTH_MAX: f64 = 1.1;

fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIPPED {test}: loading programs needs root");
    }
    root
}

/// `6.18` of `6.18.44-fc`.
fn release() -> String {
    let name = nix::sys::utsname::uname().unwrap();
    name.release().to_str().unwrap().split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The column of a kernel in the first table of docs/verifier.md, by program.
fn table(release: &str) -> Option<BTreeMap<String, u32>> {
    let text = include_str!("../../docs/verifier.md");
    let mut rows = text
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .map_while(|line| line.strip_prefix('|'))
        .map(|line| line.trim_end_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    let head = rows.next()?;
    let column = head.iter().position(|cell| *cell == release)?;
    let counts = rows.filter_map(|cells| {
        Some((cells[0].to_owned(), cells.get(column)?.replace(' ', "").parse().ok()?))
    });
    Some(counts.collect())
}

/// The test that is not run alone may close a file while the other needs to have none left.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[test]
fn root_every_program_passes_the_verifier() {
    if !is_root("every_program_passes_the_verifier") {
        return;
    }
    let _alone = ALONE.lock();
    let mut kernel =
        Kernel::load(LoadOptions { pairs: 100, endpoints: 100, breakers: 100, limits: 100 }, None)
            .unwrap();
    kernel.verify_gates().unwrap();
    assert!(kernel.knows_errors(), "this kernel has BTF, so the errno of sockets can be read");
}

/// Prints `VERIFIER program instructions stack`, which `cargo xtask vm --update-verifier` reads.
#[test]
fn root_no_program_has_grown_by_a_tenth() {
    let test = "no_program_has_grown_by_a_tenth";
    if !is_root(test) {
        return;
    }
    let _alone = ALONE.lock();
    let statistics = verifier_statistics().unwrap();
    for program in &statistics {
        println!("VERIFIER {} {} {}", program.name, program.instructions, program.stack_bytes);
    }
    let release = release();
    let Some(table) = table(&release) else {
        let update = "`cargo xtask vm --update-verifier` adds it";
        let said = format!("docs/verifier.md has no column for {release}; {update}");
        // Debian's newest kernel moves on by itself: that must be seen, but break nothing.
        let in_vm = std::env::var_os("GUARD_VM").is_some();
        println!(
            "{}",
            if in_vm { format!("NOTE {said}") } else { format!("SKIPPED {test}: {said}") }
        );
        return;
    };
    let grown: Vec<String> = statistics.iter().filter_map(|now| grown(now, &table)).collect();
    assert!(
        grown.is_empty(),
        "more than docs/verifier.md says, on Linux {release}:\n  {}\nMake them smaller; or say why \
         not in the commit that updates the table (cargo xtask vm --update-verifier)",
        grown.join("\n  ")
    );
}

fn grown(
    now: &guard_daemon::kernel::ProgramStatistics,
    table: &BTreeMap<String, u32>,
) -> Option<String> {
    // The gates differ in one constant; the table has the first.
    let name = if now.name.starts_with("guard_gate_") { "guard_gate_0" } else { &now.name };
    let Some(known) = table.get(name) else {
        return Some(format!("{name} is not in the table: add it"));
    };
    let too_many = f64::from(now.instructions) > f64::from(*known) * GROWTH_MAX;
    too_many.then(|| format!("{}: {} instructions, were {known}", now.name, now.instructions))
}
