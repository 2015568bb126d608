//! Steps through the cgroup tree by directory descriptors, so that no path can leave the
//! directory it starts from, whatever happens to the tree meanwhile.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};

use super::error::{CgroupError, Result};

/// The components of a bulkhead's path: plain names only.
///
/// # Errors
/// [`CgroupError::BadPath`] for an empty or absolute path, `.`, `..`, newline or NUL.
pub(super) fn plain_names(path: &Path) -> Result<Vec<&OsStr>> {
    let bad = |reason: &str| CgroupError::BadPath { path: path.into(), reason: reason.into() };
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                if name.as_encoded_bytes().iter().any(|b| matches!(b, b'\n' | 0)) {
                    return Err(bad("a name has a newline or a NUL byte in it"));
                }
                names.push(name);
            }
            Component::ParentDir => return Err(bad("\"..\" would leave the cgroup root")),
            Component::RootDir => return Err(bad("it is absolute")),
            Component::CurDir | Component::Prefix(_) => return Err(bad("it starts with \".\"")),
        }
    }
    if names.is_empty() {
        return Err(bad("it is empty, and the cgroup root itself is never a bulkhead"));
    }
    Ok(names)
}

/// Opens the directory `name` (one component, or several) below `parent`. Symbolic links and
/// `..` are never followed.
pub(super) fn open_dir(parent: BorrowedFd<'_>, name: &Path) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    );
    match openat2(parent, name, how) {
        // Before Linux 5.6, or hidden by a seccomp filter: one component at a time.
        Err(Errno::ENOSYS | Errno::EPERM) => open_dir_by_component(parent, name, flags),
        other => other,
    }
}

fn open_dir_by_component(
    parent: BorrowedFd<'_>,
    path: &Path,
    flags: OFlag,
) -> std::result::Result<OwnedFd, Errno> {
    let mut dir = openat(parent, ".", flags, Mode::empty())?;
    for component in path.components() {
        match component {
            Component::Normal(name) => dir = openat(&dir, name, flags, Mode::empty())?,
            Component::CurDir => {}
            _ => return Err(Errno::EXDEV),
        }
    }
    Ok(dir)
}

/// Opens a directory by its absolute path; symbolic links on the way are followed.
pub(super) fn open_absolute(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
}

/// Whether `dir` is on a cgroup2 file system.
pub(super) fn is_cgroup2_fd(dir: impl AsFd) -> std::result::Result<bool, Errno> {
    Ok(fstatfs(dir)?.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// Reads a small file of the cgroup `dir`.
pub(super) fn read_file(dir: impl AsFd, name: &str) -> std::result::Result<String, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(dir, name, flags, Mode::empty())?);
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|e| errno_of(&e))?;
    Ok(text)
}

/// Writes to a file of the cgroup `dir`, in one write, as the kernel wants it.
pub(super) fn write_file(dir: impl AsFd, name: &str, text: &str) -> std::result::Result<(), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(dir, name, flags, Mode::empty())?);
    file.write_all(text.as_bytes()).map_err(|e| errno_of(&e))
}

/// Names of the child cgroups of `dir`.
pub(super) fn children(dir: BorrowedFd<'_>) -> std::result::Result<Vec<PathBuf>, Errno> {
    let mut names = Vec::new();
    // A descriptor of its own: reading a directory moves the descriptor's position.
    for entry in Dir::from_fd(open_dir(dir, Path::new("."))?)?.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == Some(Type::Directory) && name != b"." && name != b".." {
            names.push(PathBuf::from(std::os::unix::ffi::OsStrExt::from_bytes(name) as &OsStr));
        }
    }
    Ok(names)
}

/// The cgroup (or one above it) went away between two steps.
pub(super) fn vanished(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV)
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_pass() {
        assert_eq!(plain_names(Path::new("agents/research")).unwrap().len(), 2);
        for (path, why) in [
            ("", "empty"),
            ("/agents", "absolute"),
            ("a/../b", "leave"),
            ("..", "leave"),
            ("./a", "starts with"),
            ("a\nb", "newline"),
            ("a\0b", "NUL"),
        ] {
            let error = plain_names(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains(why), "{path:?}: {error}");
        }
    }

    #[test]
    fn neither_symlink_nor_dots_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("real/inner")).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        let fd = open_absolute(dir.path()).unwrap();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        open_dir(fd.as_fd(), Path::new("real")).unwrap();
        open_dir_by_component(fd.as_fd(), Path::new("real"), flags).unwrap();
        // A link that is not followed is no directory: ENOTDIR or ELOOP, by kernel version.
        let link = open_dir(fd.as_fd(), Path::new("link"));
        assert!(matches!(link, Err(Errno::ENOTDIR | Errno::ELOOP)), "{link:?}");
        let through = open_dir(fd.as_fd(), Path::new("link/inner"));
        assert_eq!(through.unwrap_err(), Errno::ELOOP);
        assert_eq!(open_dir(fd.as_fd(), Path::new("..")).unwrap_err(), Errno::EXDEV);
        assert_eq!(open_dir(fd.as_fd(), Path::new("real/../..")).unwrap_err(), Errno::EXDEV);
        let by_component = open_dir_by_component(fd.as_fd(), Path::new("link"), flags);
        assert!(matches!(by_component, Err(Errno::ENOTDIR | Errno::ELOOP)));
        let up = open_dir_by_component(fd.as_fd(), Path::new("real/.."), flags);
        assert_eq!(up.unwrap_err(), Errno::EXDEV);
        assert!(!is_cgroup2_fd(&fd).unwrap());
    }
}
