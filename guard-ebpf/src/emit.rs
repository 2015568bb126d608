//! Sends events to the daemon. An event that does not fit is counted, never waited for.

use guard_common::abi::event::Event;

use crate::maps;

/// Sends one event.
#[inline(always)]
pub(crate) fn emit(event: &Event) {
    let sent = match maps::events().reserve::<Event>(0) {
        Some(mut slot) => {
            slot.write(*event);
            slot.submit(0);
            true
        }
        None => false,
    };
    if !sent {
        maps::hook_stats(|stats| &raw mut stats.events_lost);
    }
}
