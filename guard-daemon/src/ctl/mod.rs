//! (module ctl)
