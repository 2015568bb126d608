//! What the engine process does before its work: takes its socket, lets go of whatever else it
//! was given, and gives up every right but the one to have queues. It changes nothing but itself.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::super::engine::PRIORITY;
use super::child::EngineError;
use super::message::Link;

/// First descriptor that is not a standard stream.
const FIRST_OTHER: RawFd = 3;

/// The socket to guardd, and the signals that ask for an end.
pub(super) fn enter() -> Result<(Link, SignalFd), EngineError> {
    let socket = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|e| EngineError::new("taking the socket to guardd (standard input)", e))?;
    if getsockopt(&socket, sockopt::SockType) != Ok(SockType::SeqPacket) {
        return Err(EngineError::new(
            "standard input is no socket to guardd",
            io::Error::other("guardd starts this process by itself; there is nothing to call"),
        ));
    }
    close_others(socket.as_raw_fd()).map_err(|e| EngineError::new("closing files", e))?;
    // What `ps` shows; else it would be the `exe` of /proc/self/exe.
    unless("name", prctl::set_name(c"guard-delay"));
    // A session of its own: neither Ctrl-C nor a hang-up at guardd's terminal is for us.
    unless("session", nix::unistd::setsid().map(drop));
    // guardd's end is told by the socket. A stopped process would not read it: let it go on. (Not
    // SIGKILL: held packets would be lost. It may come early, when only the thread of guardd ends
    // that has started us; that does no harm.)
    unless("death signal", prctl::set_pdeathsig(Signal::SIGCONT));
    // For the threads, which inherit it; without CAP_SYS_NICE they could not ask for it below.
    unless("priority", rustix::process::setpriority_process(None, PRIORITY));
    unless("capabilities", keep_one_capability());
    unless("privileges", prctl::set_no_new_privs());
    let signals = listen().map_err(|e| EngineError::new("listening to signals", e))?;
    Ok((Link::new(socket), signals))
}

/// What costs neighbours or safety something if it fails, but not the work itself.
fn unless<E: std::fmt::Display>(what: &str, done: Result<(), E>) {
    if let Err(error) = done {
        tracing::debug!(what, %error, "the delay engine goes on without");
    }
}

/// guardd opens everything to be closed at an exec; this is for what guardd was given itself.
fn close_others(socket: RawFd) -> io::Result<()> {
    let listed = std::fs::read_dir("/proc/self/fd")?;
    let open: Vec<RawFd> =
        listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd >= FIRST_OTHER && *fd != socket) {
        // EBADF: the list's own, closed by now.
        if let Err(errno) = nix::unistd::close(fd)
            && errno != Errno::EBADF
        {
            return Err(errno.into());
        }
    }
    Ok(())
}

/// Of the capabilities that it has, keeps the one for netfilter queues. Later threads inherit it.
fn keep_one_capability() -> io::Result<()> {
    let has = capabilities(None)?;
    let only = CapabilitySets {
        effective: has.effective & CapabilitySet::NET_ADMIN,
        permitted: has.permitted & CapabilitySet::NET_ADMIN,
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, only)?)
}

/// Signals that would end the process, and lose the packets that it holds.
fn listen() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        set.add(signal);
    }
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}
