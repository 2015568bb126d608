//! Pure decisions: the same functions run in the kernel hooks and in host tests.
//!
//! Nothing here may read a clock, draw random bits, allocate or loop without a small bound: the
//! kernel's verifier reads this code too.

#![allow(
    clippy::inline_always,
    reason = "the kernel's verifier follows inlined code; a call would cost a stack frame there"
)]

pub mod breaker;
pub mod burst;
pub mod creation;
pub mod dns;
pub mod exchange;
pub mod fault;
pub mod histogram;
pub mod http;
pub mod hygiene;
pub mod jitter;
pub mod outcome;
pub mod pacing;
pub mod random;
pub mod retry;
pub mod tls;
pub mod unacknowledged;
