//! (module journal)
