//! What `cargo xtask vm` needs: an emulator, and the tools that pack a guest. Kernels are not
//! installed; the command fetches them into the target directory.

use std::env;

use anyhow::{Result, ensure};

use super::apt;
use super::piece::State;

/// As (program, package). Programs are looked for, so that this works without dpkg too.
const NEEDED: [(&str, &str); 8] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("strip", "binutils"),
    ("openssl", "openssl"),
    ("setpriv", "util-linux"),
    ("dpkg-deb", "dpkg"),
];

pub(super) fn check() -> State {
    let missing = missing();
    if missing.is_empty() {
        State::Ok(NEEDED.map(|(program, _)| program).join(", "))
    } else {
        State::Missing(missing.join(", "))
    }
}

pub(super) fn install(may_use_apt: bool) -> Result<()> {
    ensure!(
        env::consts::ARCH == "x86_64",
        "the virtual machines are of x86_64, and this machine is {}: leave them out (`cargo xtask \
         test --no-vm`)",
        env::consts::ARCH
    );
    apt::install(&missing(), may_use_apt)
}

fn missing() -> Vec<&'static str> {
    let wanted = NEEDED.iter().filter(|(program, _)| !apt::in_path(program));
    wanted.map(|(_, package)| *package).collect()
}
