//! What must be so before anything is made on the host: root, no other demo, nothing left of a
//! killed one, free ports. It makes nothing itself.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use anyhow::{Context, Result, bail, ensure};
use testbed::process::binary;

use super::earlier;
use super::screen::Screen;
use super::setup::{NAME, Setup, has_ipv6};

/// Checks everything; as long as the answer lives, no second demo can start.
pub(crate) fn run(setup: &Setup, screen: &Screen) -> Result<UnixListener> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "needs root, because it makes cgroups, loads programs into the kernel and sets netfilter \
         rules (all taken away again); run it as root: sudo -E env PATH=\"$PATH\" cargo xtask demo"
    );
    for name in ["guardd", "guardctl", "testbed-agent"] {
        binary(name)?;
    }
    let lock = lock()?;
    earlier::clear_away(setup, screen)?;
    if !has_ipv6() {
        screen.line("no IPv6 on loopback: its part is left out");
    }
    for (address, key) in setup.all_addresses() {
        let Err(error) = TcpListener::bind(address) else { continue };
        bail!(
            "cannot listen on {address}: {error}; the demo needs this port ({key} in {}). Who has \
             it: ss -ltnp 'sport = :{}'. End that, or write a free port into the file",
            setup.config.display(),
            address.port()
        );
    }
    Ok(lock)
}

/// An abstract socket: it goes with its process and is nowhere on disk.
fn lock() -> Result<UnixListener> {
    let name = SocketAddr::from_abstract_name(NAME).context("naming the lock")?;
    UnixListener::bind_addr(&name).context(
        "another guard-demo runs on this host; wait for its end, or end it with Ctrl-C \
         (it clears away)",
    )
}
