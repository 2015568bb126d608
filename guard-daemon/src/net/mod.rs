//! (module net)
