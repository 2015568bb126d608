//! (module kernel)
