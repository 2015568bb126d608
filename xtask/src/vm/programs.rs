//! Programs of this machine for the initramfs, with the libraries that they need. It never
//! copies into a place other than the one that a program was found at, so that what a program
//! loads by a fixed path is there too.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::archive::Archive;

/// The real ones, because busybox's differ: the tests and guardd use them. As (program, package).
const PROGRAMS: [(&str, &str); 23] = [
    ("bash", "bash"),
    ("dash", "dash"),
    ("sleep", "coreutils"),
    ("cat", "coreutils"),
    ("echo", "coreutils"),
    ("true", "coreutils"),
    ("ls", "coreutils"),
    ("stty", "coreutils"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("getent", "libc-bin"),
    ("openssl", "openssl"),
    ("iptables", "iptables"),
    ("ip6tables", "iptables"),
    ("iptables-save", "iptables"),
    ("ip6tables-save", "iptables"),
    ("iptables-restore", "iptables"),
    ("ip6tables-restore", "iptables"),
];

/// Adds the programs, and busybox for everything else.
pub(super) fn add(archive: &mut Archive) -> Result<()> {
    for merged in ["bin", "sbin", "lib", "lib64"] {
        archive.directory(&format!("/usr/{merged}"));
        archive.link(&format!("/{merged}"), &format!("usr/{merged}"));
    }
    for (program, package) in PROGRAMS {
        let path = find(program).with_context(|| {
            format!(
                "the program {program} is missing: apt install {package}, or `cargo xtask setup`"
            )
        })?;
        // The name may be a link of update-alternatives: what it leads to decides by its name.
        let real = path.canonicalize()?;
        add_file(archive, &real)?;
        let name = usr(&path);
        if name != usr(&real) {
            archive.link(&name.display().to_string(), &usr(&real).display().to_string());
        }
    }
    archive.link("/usr/bin/sh", "dash");
    add_iptables_extensions(archive)?;
    add_distributions(archive)?;
    add_busybox(archive)
}

/// Adds one executable (or library) at its own path, and its libraries.
pub(super) fn add_file(archive: &mut Archive, path: &Path) -> Result<()> {
    archive.file(&usr(path), path);
    add_libraries(archive, path)
}

/// Adds the libraries that an executable names.
pub(super) fn add_libraries(archive: &mut Archive, path: &Path) -> Result<()> {
    for library in libraries(path)? {
        if !archive.has(&usr(&library)) {
            archive.file(&usr(&library), &library.canonicalize()?);
        }
    }
    Ok(())
}

/// Extensions (`-m cgroup`, `-j NFQUEUE`) are libraries that iptables opens by name.
fn add_iptables_extensions(archive: &mut Archive) -> Result<()> {
    let dirs = ["/usr/lib/x86_64-linux-gnu/xtables", "/usr/lib64/xtables", "/usr/lib/xtables"];
    let Some(dir) = dirs.iter().map(Path::new).find(|dir| dir.is_dir()) else {
        bail!("iptables' extensions are in none of {dirs:?}");
    };
    for entry in fs::read_dir(dir)? {
        add_file(archive, &entry?.path())?;
    }
    Ok(())
}

/// Tables that tc opens by name (`netem … distribution normal`).
fn add_distributions(archive: &mut Archive) -> Result<()> {
    let dirs = ["/usr/lib/x86_64-linux-gnu/tc", "/usr/lib64/tc", "/usr/lib/tc"];
    let Some(dir) = dirs.iter().map(Path::new).find(|dir| dir.join("normal.dist").is_file()) else {
        bail!("tc's distributions are in none of {dirs:?}: apt install iproute2");
    };
    let path = dir.join("normal.dist");
    archive.file(&path, &path);
    Ok(())
}

/// busybox's commands come last in `PATH`, and never shadow a real program.
fn add_busybox(archive: &mut Archive) -> Result<()> {
    let path = find("busybox").context("busybox is missing: apt install busybox-static")?;
    ensure!(
        libraries(&path)?.is_empty(),
        "{} is not static: apt install busybox-static",
        path.display()
    );
    archive.file(Path::new("/busybox/busybox"), &path.canonicalize()?);
    let output = Command::new(&path).arg("--list").output()?;
    for applet in String::from_utf8_lossy(&output.stdout).lines() {
        if applet != "busybox" {
            archive.link(&format!("/busybox/{applet}"), "busybox");
        }
    }
    // The kernel starts it by this path when it needs a module.
    archive.link("/usr/sbin/modprobe", "/busybox/busybox");
    Ok(())
}

/// Where a program is: in `PATH`, or where only root looks.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    // Debian's own places first: what else is in PATH may be anything.
    let dirs = usual.into_iter().chain(env::split_paths(&path));
    dirs.map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// The same place with `/usr` in front: `/bin` and `/lib` are links in the tree.
fn usr(path: &Path) -> PathBuf {
    let merged = ["/bin", "/sbin", "/lib", "/lib64"].iter().any(|dir| path.starts_with(dir));
    match path.strip_prefix("/") {
        Ok(below) if merged => Path::new("/usr").join(below),
        _ => path.to_owned(),
    }
}

fn libraries(path: &Path) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("ldd").arg(path).env("LC_ALL", "C").output().context("no ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
        bail!("{} lacks a library: {}", path.display(), missing.trim());
    }
    // What is static has none, and ldd's exit code for it is 1.
    Ok(text.lines().filter_map(library).collect())
}

/// `/lib/x.so` of `x.so => /lib/x.so (0x…)` and of `/lib/ld.so (0x…)`.
fn library(line: &str) -> Option<PathBuf> {
    let line = line.split_once("=> ").map_or(line, |(_, path)| path).trim();
    let path = line.split(" (").next()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::{library, usr};
    use std::path::Path;

    #[test]
    fn libraries_are_read_from_ldd() {
        let path = |line| library(line).map(|path| path.display().to_string());
        assert_eq!(path("\tlibc.so.6 => /lib/libc.so.6 (0x7)").as_deref(), Some("/lib/libc.so.6"));
        assert_eq!(path("\t/lib64/ld.so.2 (0x7)").as_deref(), Some("/lib64/ld.so.2"));
        assert_eq!(path("\tlinux-vdso.so.1 (0x7)"), None);
        assert_eq!(path("\tnot a dynamic executable"), None);
    }

    #[test]
    fn merged_directories_are_below_usr() {
        assert_eq!(usr(Path::new("/bin/ip")), Path::new("/usr/bin/ip"));
        assert_eq!(usr(Path::new("/usr/lib/x")), Path::new("/usr/lib/x"));
    }
}
