//! Which network namespace this process is in, by the number that hooks know it by. It opens one socket
//! that is never used, and changes nothing.

#![allow(unsafe_code, reason = "no library reads SO_NETNS_COOKIE")]

use std::io;
use std::mem;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd as _;

/// Cookie of this process's network namespace, as `bpf_get_netns_cookie` gives it (Linux 5.14).
pub(super) fn cookie() -> io::Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut cookie = 0_u64;
    let mut bytes = mem::size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` bytes to `cookie`, which is that large.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut bytes,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_each_time_and_not_zero() {
        let one = cookie().unwrap();
        assert_ne!(one, 0);
        assert_eq!(cookie().unwrap(), one);
    }
}
