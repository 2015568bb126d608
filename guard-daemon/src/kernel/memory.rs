//! Gives memory back to the host. Loading parses the kernel's types (a good 10 MiB for a moment),
//! which the allocator would keep for as long as guardd runs.

/// Gives free heap memory back. Does nothing with an allocator that has no such call.
#[cfg_attr(target_env = "gnu", allow(unsafe_code, reason = "one call of the C library"))]
pub fn give_back_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and may be called at any time and by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
