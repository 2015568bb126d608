//! (module control)
pub mod api;
