//! What aya does not offer of bpf(2): opening a pinned link so that its descriptor can be used, asking
//! which program it runs, and giving it another.

#![allow(unsafe_code, reason = "bpf(2) takes a pointer to its arguments")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Commands of `enum bpf_cmd`.
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_UPDATE: libc::c_long = 29;

/// Arguments of `BPF_OBJ_GET`, as in `union bpf_attr`.
#[repr(C)]
struct ObjectGet {
    path: u64,
    fd: u32,
    flags: u32,
}

/// Arguments of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct ObjectInfo {
    fd: u32,
    info_bytes: u32,
    info: u64,
}

/// The beginning of `struct bpf_link_info`; the kernel writes as much as it is asked for.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
}

/// Arguments of `BPF_LINK_UPDATE`.
#[repr(C)]
struct LinkUpdate {
    link: u32,
    new_program: u32,
    flags: u32,
    old_program: u32,
}

/// Opens what is pinned at a path.
pub(super) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let arguments = ObjectGet { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    let fd = bpf(BPF_OBJ_GET, &arguments)?;
    // SAFETY: the call has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Id of the program that a link runs.
pub(super) fn link_program(link: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = LinkInfo::default();
    let arguments = ObjectInfo {
        fd: link.as_raw_fd() as u32,
        info_bytes: size_of::<LinkInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &arguments)?;
    Ok(info.program)
}

/// From the next packet or call on, the link runs `program`; no packet and no call is missed.
pub(super) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let arguments = LinkUpdate {
        link: link.as_raw_fd() as u32,
        new_program: program.as_raw_fd() as u32,
        flags: 0,
        old_program: 0,
    };
    bpf(BPF_LINK_UPDATE, &arguments).map(drop)
}

fn bpf<T>(command: libc::c_long, arguments: &T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads as many bytes as it is told from arguments that live for the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(arguments), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
