//! No source file may be longer than a reader's patience.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cargo;
use crate::stage::Outcome;

/// Longest source file allowed, lines.
const MAX_LINES: usize = 500;

/// Looks at every `.rs` file of the repository.
pub(crate) fn check() -> Result<Outcome> {
    let mut files = Vec::new();
    collect(&cargo::root()?, &mut files)?;
    let mut passed = true;
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let lines = text.lines().count();
        if lines > MAX_LINES {
            passed = false;
            eprintln!("{}: {lines} lines, at most {MAX_LINES} allowed: split it", file.display());
        }
    }
    Ok(passed.into())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = entry.file_name();
        // Build products and hidden directories are not ours to judge; links could lead anywhere.
        if kind.is_dir() && name != "target" && !name.as_encoded_bytes().starts_with(b".") {
            collect(&path, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
