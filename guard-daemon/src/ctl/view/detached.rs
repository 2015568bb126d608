//! What a drill that runs on its own is about. It prints nothing itself.

use super::look::{Look, Tone};
use super::text::clean;
use crate::ctl::commands::Detached;

/// `drill run --detach`.
pub(in crate::ctl) fn drill_detached(detached: &Detached, look: &Look) -> String {
    format!(
        "{} runs on its own: run {}, pid {}\nresults  {}\nstop it  {}\n",
        look.paint(Tone::Title, &clean(&detached.name)),
        clean(&detached.run_id),
        detached.pid,
        clean(&detached.results),
        clean(&detached.stop),
    )
}
