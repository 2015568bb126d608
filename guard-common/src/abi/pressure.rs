//! Bulkheads whose new connections are refused while they press against their resources.

use super::pod;

/// What the daemon says about one bulkhead.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PressureSwitch {
    /// Until when new connections are refused without another word of the daemon (boottime ns).
    pub until_ns: u64,
    /// What `connect` gives, a positive errno.
    pub errno: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = {
    assert!(size_of::<PressureSwitch>() == 16);
    assert!(core::mem::offset_of!(PressureSwitch, errno) == 8);
};
pod!(PressureSwitch);
