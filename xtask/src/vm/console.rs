//! What the kernel said on its console: finds oopses and warnings. It never decides by the end
//! alone, because a guest can go on after an oops.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Lines of the console that are shown of a failed run.
const TAIL_LINES: usize = 40;

/// Each stands at the start of a kernel's complaint about itself.
const COMPLAINTS: [&str; 10] = [
    "Kernel panic",
    "BUG:",
    "Oops:",
    "WARNING: CPU",
    "general protection fault",
    "double fault",
    "kernel BUG at",
    "unable to handle",
    "Out of memory: Killed",
    "INFO: task ",
];

/// The console's text, without the escapes of firmware.
pub(super) fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).replace('\r', ""))
}

/// The first line with a complaint.
pub(super) fn complaint(text: &str) -> Option<&str> {
    let first = text.lines().find(|line| COMPLAINTS.iter().any(|word| line.contains(word)));
    first.map(str::trim)
}

/// The end of the text.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::{complaint, tail};

    #[test]
    fn an_oops_is_found_and_ordinary_lines_are_not() {
        let text = "[ 1.0] PCI: report a bug\n[ 2.0] BUG: unable to handle page fault\nmore";
        assert_eq!(complaint(text), Some("[ 2.0] BUG: unable to handle page fault"));
        assert_eq!(complaint("[ 1.9] PCI: if necessary, use \"pci=nocrs\" and report a bug"), None);
        assert_eq!(tail("a\nb"), "a\nb");
    }
}
