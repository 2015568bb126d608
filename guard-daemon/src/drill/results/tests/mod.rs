//! Handmade runs of every ending, and what must be true of their files.

mod charts;
mod files;
mod journal;
mod junit;
pub(super) mod records;
mod report;
mod summary;
mod xml;
