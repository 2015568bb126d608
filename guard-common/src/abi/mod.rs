//! Types that cross the kernel boundary, one file per topic.
//!
//! Rules: `#[repr(C)]`, integers only, explicit padding, size and offsets asserted at compile
//! time. No `bool`, `Option` or data-carrying enum may appear in a field. Times are nanoseconds
//! of `CLOCK_BOOTTIME` unless a name says otherwise. Any change raises [`ABI_VERSION`].

pub mod breaker;
pub mod creation;
pub mod event;
pub mod fallback;
pub mod fault;
pub mod hygiene;
pub mod ids;
pub mod limits;
pub mod nesting;
pub mod outcome;
pub mod pacing;
pub mod policy;
pub mod pressure;
pub mod socket;
pub mod stats;

/// Version of every layout in this module; written to [`policy::Control`] and read by whoever
/// opens the maps.
pub const ABI_VERSION: u32 = 10;

/// Implements `aya::Pod` for plain ABI types when the daemon asks for it.
macro_rules! pod {
    ($($t:ty),+ $(,)?) => {$(
        #[cfg(feature = "user")]
        #[allow(unsafe_code, reason = "the ABI is where bytes become types")]
        // SAFETY: repr(C), integers only, no implicit padding (sizes asserted), any bits valid.
        unsafe impl aya::Pod for $t {}
    )+};
}
pub(crate) use pod;
