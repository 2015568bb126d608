//! Bulkheads inside bulkheads: which lie around which, and where a connection is counted besides its
//! own bulkhead.

use super::pod;

/// How many bulkheads may lie around one another's.
pub const MAX_OUTER: usize = 4;

/// The bulkheads around one, innermost first; 0 = no more. The key is the bulkhead's id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outers {
    /// Bulkhead ids.
    pub ids: [u32; MAX_OUTER],
}

/// Socket storage of sockets whose bulkhead lies inside others.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NestState {
    /// Id of the innermost bulkhead, where a datagram that is sent has no other storage yet to tell
    /// the programs of the outer ones; 0 = not told.
    pub owner: u32,
    /// Zero.
    pub pad: u32,
    /// Places at which the connection is counted for outer bulkheads, each as
    /// [`super::socket::SocketState::counted`]. Taken by whoever gives them back.
    pub counted: [u64; MAX_OUTER],
    /// The same of a connect that is under way. Changed under the socket's lock alone.
    pub entering: [u64; MAX_OUTER],
}

const _: () = {
    assert!(size_of::<Outers>() == 16);
    assert!(size_of::<NestState>() == 72);
    assert!(core::mem::offset_of!(NestState, counted) == 8);
    assert!(core::mem::offset_of!(NestState, entering) == 40);
};
pod!(Outers, NestState);
