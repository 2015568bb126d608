//! What the kernel programs and the daemon must agree on.
//!
//! [`abi`] holds the types that cross the boundary (maps and events), [`logic`] the pure
//! decisions that both sides compile, so that host tests, property tests and Miri check the very
//! code that runs in the kernel.
//!
//! This crate must never allocate, panic in non-test code, or read a clock: time, random bits and
//! errors come in as arguments.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod abi;
pub mod logic;
