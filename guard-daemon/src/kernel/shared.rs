//! Map memory that this process shares with the hooks (`BPF_F_MMAPABLE`): words are read and swapped
//! here as they are there, without a system call and without losing what a hook does meanwhile.

#![allow(unsafe_code, reason = "memory that the kernel writes to")]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// An array map in this process's memory.
#[derive(Debug)]
pub(super) struct SharedArray {
    base: NonNull<u8>,
    bytes: usize,
    stride: usize,
    entries: usize,
}

// SAFETY: nothing of it belongs to a thread; its memory is only handed out as atomics.
unsafe impl Send for SharedArray {}
// SAFETY: as above.
unsafe impl Sync for SharedArray {}

impl SharedArray {
    /// Maps an array of `entries` values of `value_bytes` bytes each.
    pub(super) fn map(fd: impl AsFd, value_bytes: usize, entries: usize) -> io::Result<Self> {
        // The kernel rounds values up to 8 bytes.
        let stride = value_bytes.next_multiple_of(8);
        let bytes = stride * entries;
        let length = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let base = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, fd, 0) }?;
        Ok(Self { base: base.cast(), bytes, stride, entries })
    }

    /// How many values it has.
    pub(super) const fn entries(&self) -> usize {
        self.entries
    }

    /// The 64-bit field at `offset` of an entry; `None` beyond the array.
    pub(super) fn word(&self, entry: usize, offset: usize) -> Option<&AtomicU64> {
        let at = self.place(entry, offset, size_of::<u64>())?;
        // SAFETY: inside the mapping and aligned (checked), alive as long as `self`, and whoever
        // else changes it does so atomically.
        Some(unsafe { AtomicU64::from_ptr(at.as_ptr().cast()) })
    }

    /// The 32-bit field at `offset` of an entry.
    pub(super) fn half(&self, entry: usize, offset: usize) -> Option<&AtomicU32> {
        let at = self.place(entry, offset, size_of::<u32>())?;
        // SAFETY: as in `word`.
        Some(unsafe { AtomicU32::from_ptr(at.as_ptr().cast()) })
    }

    fn place(&self, entry: usize, offset: usize, bytes: usize) -> Option<NonNull<u8>> {
        let fits = entry < self.entries && offset + bytes <= self.stride;
        // SAFETY: inside the mapping, by the line above.
        (fits && offset.is_multiple_of(bytes))
            .then(|| unsafe { self.base.add(entry * self.stride + offset) })
    }
}

impl Drop for SharedArray {
    fn drop(&mut self) {
        // SAFETY: this very mapping, and nobody has a reference into it any more.
        if let Err(errno) = unsafe { munmap(self.base.cast(), self.bytes) } {
            tracing::error!(%errno, "memory of a map stays mapped");
        }
    }
}
