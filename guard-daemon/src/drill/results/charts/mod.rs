//! Charts over time as SVG: success rate, latency, breakers. Times at which faults acted are grey.
//! Lines differ in colour (Okabe and Ito's, which colour-blind people can tell apart) and in dashes;
//! a time without calls is a gap, never a line across it.

mod breakers;
mod canvas;
mod frame;
mod lines;
mod style;

pub(super) use breakers::text as breakers;
pub(super) use lines::{latency, success};
