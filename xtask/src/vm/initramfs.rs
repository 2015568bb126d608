//! The guest's whole file system: a few programs of this machine, busybox, modules, and what is
//! tested. It is built without root and changes nothing outside its directory.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::archive::Archive;
use super::kernels::Kernel;
use super::{modules, programs};
use crate::test::second_try;

const INIT: &str = include_str!("init.sh");

/// Environment of the tests: where the binaries are, and that this is a guest of ours.
fn environment() -> String {
    let variables = [
        ("GUARD_BIN_DIR", "/usr/local/bin".to_owned()),
        ("GUARD_VM", "1".to_owned()),
        (second_try::TIME_SCALE, super::TIME_SCALE.to_string()),
        // Each of the three kinds of fault once.
        ("GUARD_TEST_KILLS", "3".to_owned()),
        ("RUST_BACKTRACE", "1".to_owned()),
    ];
    let lines = variables.map(|(name, value)| format!("export {name}='{value}'\n"));
    lines.concat()
}

/// What one run adds to the programs that every guest has.
pub(super) struct Contents {
    /// (path in the guest, file).
    pub(super) files: Vec<(PathBuf, PathBuf)>,
    /// What the first process does, as shell.
    pub(super) script: String,
}

/// Writes `initramfs.cpio` into `dir`.
pub(super) fn build(kernel: &Kernel, contents: &Contents, dir: &Path) -> Result<PathBuf> {
    let mut archive = Archive::default();
    for path in ["/proc", "/sys", "/dev", "/tmp", "/run", "/var/lib", "/root", "/etc"] {
        archive.directory(path);
    }
    programs::add(&mut archive)?;
    for (path, source) in &contents.files {
        archive.file(path, source);
        programs::add_libraries(&mut archive, source)?;
    }
    for (path, source) in modules::stage(kernel, &dir.join("modules"))? {
        // `lib` is a link in the tree.
        archive.file(&Path::new("/usr").join(path), &source);
    }
    for (path, text) in [
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"),
        ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
        ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ("/etc/resolv.conf", ""),
        ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        ("/etc/protocols", "icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\n"),
    ] {
        archive.text(path, text, 0o644);
    }
    // `openssl req` wants one, and nothing in particular in it.
    let openssl = "[req]\ndistinguished_name = name\n[name]\n";
    archive.text("/usr/lib/ssl/openssl.cnf", openssl, 0o644);
    archive.text("/environment", &environment(), 0o644);
    archive.text("/suite", &contents.script, 0o644);
    archive.text("/init", INIT, 0o755);
    archive.check()?;
    let path = dir.join("initramfs.cpio");
    archive.write(&path)?;
    Ok(path)
}
