//! (module observe)
