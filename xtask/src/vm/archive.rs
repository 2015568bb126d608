//! A file tree written as the cpio archive that the kernel unpacks into memory. It holds names of
//! files until it is written, never their contents, and needs no root.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cpio::newc::{Builder, ModeFileType, trailer};

/// What a path of the tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Directory,
    Link(String),
    File(PathBuf),
    Text(String, u32),
}

/// A file tree to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Archive {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Archive {
    /// A directory, with those above it.
    pub(super) fn directory(&mut self, path: &str) {
        self.insert(Path::new(path), Entry::Directory);
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.insert(Path::new(path), Entry::Link(target.to_owned()));
    }

    /// A copy of a file of this machine.
    pub(super) fn file(&mut self, path: &Path, source: &Path) {
        self.insert(path, Entry::File(source.to_owned()));
    }

    /// A file with this text.
    pub(super) fn text(&mut self, path: &str, text: &str, mode: u32) {
        self.insert(Path::new(path), Entry::Text(text.to_owned(), mode));
    }

    /// Whether there is something at `path`.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.entries.contains_key(&relative(path))
    }

    /// Writes it uncompressed: unpacking costs more time in the guest than reading does here.
    pub(super) fn write(&self, to: &Path) -> Result<()> {
        let file = File::create(to).with_context(|| format!("cannot make {}", to.display()))?;
        let mut out = BufWriter::new(file);
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            let name = path.to_str().with_context(|| format!("{} is no text", path.display()))?;
            let builder = Builder::new(name).ino(number).nlink(1);
            out = match entry {
                Entry::Directory => {
                    let builder = builder.mode(0o755).set_mode_file_type(ModeFileType::Directory);
                    builder.write(out, 0).finish()?
                }
                Entry::Link(target) => {
                    let builder = builder.mode(0o777).set_mode_file_type(ModeFileType::Symlink);
                    contents(builder, out, target.as_bytes(), target.len() as u64)?
                }
                Entry::Text(text, mode) => {
                    let builder = builder.mode(*mode).set_mode_file_type(ModeFileType::Regular);
                    contents(builder, out, text.as_bytes(), text.len() as u64)?
                }
                Entry::File(source) => {
                    let open = || -> io::Result<(File, fs::Metadata)> {
                        let file = File::open(source)?;
                        let metadata = file.metadata()?;
                        Ok((file, metadata))
                    };
                    let (file, metadata) =
                        open().with_context(|| format!("cannot read {}", source.display()))?;
                    let mode = metadata.permissions().mode() & 0o777;
                    let builder = builder.mode(mode).set_mode_file_type(ModeFileType::Regular);
                    contents(builder, out, file, metadata.len())
                        .with_context(|| format!("cannot copy {}", source.display()))?
                }
            };
        }
        trailer(out)?.flush()?;
        Ok(())
    }

    fn insert(&mut self, path: &Path, entry: Entry) {
        let path = relative(path);
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            self.entries.entry(above.to_owned()).or_insert(Entry::Directory);
        }
        self.entries.insert(path, entry);
    }

    /// A link or a file that is also used as a directory would be lost without a word.
    pub(super) fn check(&self) -> Result<()> {
        for path in self.entries.keys() {
            for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
                ensure!(
                    self.entries.get(above) == Some(&Entry::Directory),
                    "{} is to be in {}, which is no directory",
                    path.display(),
                    above.display()
                );
            }
        }
        Ok(())
    }
}

fn contents<W: io::Write>(
    builder: Builder,
    out: W,
    mut from: impl io::Read,
    size: u64,
) -> Result<W> {
    let Ok(size) = u32::try_from(size) else { bail!("4 GB is too large for a cpio archive") };
    let mut writer = builder.write(out, size);
    io::copy(&mut from, &mut writer)?;
    Ok(writer.finish()?)
}

/// Without the leading `/`, and without `..`.
fn relative(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::Archive;
    use std::path::Path;

    #[test]
    fn directories_above_come_by_themselves() {
        let mut archive = Archive::default();
        archive.text("/etc/a/b", "text", 0o644);
        assert!(archive.has(Path::new("/etc/a")) && archive.has(Path::new("etc")));
        archive.check().unwrap();
        archive.link("/etc/a", "elsewhere");
        assert!(archive.check().is_err());
    }
}
