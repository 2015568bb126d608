//! Values written and copied word by word. Of many zeros, and of large copies, the compiler makes a
//! call, which for kernel programs is a loop over bytes: slow, and as many steps for the verifier.

/// A zero that the compiler does not know to be one.
#[inline(always)]
pub(crate) fn zero() -> u64 {
    let zero = 0_u64;
    // SAFETY: a local variable.
    unsafe { core::ptr::read_volatile(&raw const zero) }
}

/// The same number; the compiler knows nothing of it any more, not even bounds.
#[inline(always)]
pub(crate) fn unknown(number: u64) -> u64 {
    // SAFETY: a local variable.
    unsafe { core::ptr::read_volatile(&raw const number) }
}

/// Copies a value whose size is a multiple of eight bytes, and which is aligned to them.
#[inline(always)]
pub(crate) fn copy<T: Copy>(to: &mut T, from: &T) {
    const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() == 8) };
    let (to, from) = ((&raw mut *to).cast::<u64>(), (&raw const *from).cast::<u64>());
    for at in 0..size_of::<T>() / 8 {
        // SAFETY: both are as long, and aligned. Volatile, so that no such loop is made of it.
        unsafe { to.add(at).write_volatile(from.add(at).read_volatile()) };
    }
}
