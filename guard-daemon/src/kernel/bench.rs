//! An empty cgroup_skb program: the yardstick for guard's packet hooks. Only with the feature
//! `bench`, for `guard-bench`; guardd never uses it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd as _, OwnedFd};

/// `BPF_PROG_LOAD`, `BPF_LINK_CREATE`.
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
/// `BPF_PROG_TYPE_CGROUP_SKB`.
const CGROUP_SKB: u32 = 8;
/// `r0 = 1; exit`: the packet passes.
const PASS: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];

/// Which packets the program sees; values of `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those that the cgroup's sockets receive.
    Ingress = 0,
    /// Those that they send.
    Egress = 1,
}

/// A program of two instructions, attached to a cgroup. Dropping it detaches it.
#[derive(Debug)]
pub struct EmptyProgram {
    program: OwnedFd,
    _link: OwnedFd,
}

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` needs.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The part of `union bpf_attr` that `BPF_LINK_CREATE` needs.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
}

impl EmptyProgram {
    /// Loads the program and attaches it to a cgroup's directory, beside whatever is there.
    pub fn attach(cgroup: &impl AsFd, direction: Direction) -> io::Result<Self> {
        let mut load = ProgLoad {
            prog_type: CGROUP_SKB,
            insn_cnt: PASS.len() as u32,
            insns: PASS.as_ptr() as u64,
            license: c"Dual MIT/GPL".as_ptr() as u64,
            expected_attach_type: direction as u32,
            ..ProgLoad::default()
        };
        load.prog_name[..5].copy_from_slice(b"empty");
        let program = bpf(PROG_LOAD, &load)?;
        let link = bpf(
            LINK_CREATE,
            &LinkCreate {
                prog_fd: program.as_raw_fd() as u32,
                target_fd: cgroup.as_fd().as_raw_fd() as u32,
                attach_type: direction as u32,
                flags: 0,
            },
        )?;
        Ok(Self { program, _link: link })
    }

    /// Nanoseconds spent in the program, and its runs; both stay 0 unless
    /// `kernel.bpf_stats_enabled` is set.
    pub fn run(&self) -> io::Result<(u64, u64)> {
        let path = format!("/proc/self/fdinfo/{}", self.program.as_raw_fd());
        let text = std::fs::read_to_string(&path)?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            value.and_then(|value| value.trim().parse().ok()).ok_or_else(|| {
                io::Error::other(format!("{path} has no `{name}`: this kernel is older than 5.8"))
            })
        };
        Ok((field("run_time_ns:")?, field("run_cnt:")?))
    }
}

/// One bpf(2) call that makes a descriptor.
#[allow(unsafe_code, reason = "aya cannot load bare instructions")]
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: `attributes` has the layout of the command's part of `union bpf_attr`, of the size
    // that is passed; the pointers in it are to data that outlives the call, which only reads it.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
