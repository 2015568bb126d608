//! The real `guardctl` against the real control server on a Unix socket. What guardd would do
//! is answered by a handler of this test: tested here are transport, credentials, exit codes
//! and what is printed, not bulkheads and faults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

mod access;
mod commands;
mod exec;
mod follow;
mod handler;
mod no_daemon;
mod rig;
mod top;
mod transport;
