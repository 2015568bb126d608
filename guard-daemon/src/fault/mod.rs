//! (module fault)
