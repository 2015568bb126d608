//! Sends events to the daemon. An event that does not fit is counted, never waited for.

use guard_common::abi::event::Event;
use guard_common::abi::fault::ResetOrder;

use crate::maps;

/// Sends one event.
#[inline(always)]
pub(crate) fn emit(event: &Event) {
    send(event);
}

/// Asks the daemon for a reset. An order that is lost is given again when TCP sends the packet again.
#[inline(always)]
pub(crate) fn order_reset(order: &ResetOrder) {
    send(order);
}

#[inline(always)]
fn send<T: Copy + 'static>(record: &T) {
    let sent = match maps::events().reserve::<T>(0) {
        Some(mut slot) => {
            slot.write(*record);
            slot.submit(0);
            true
        }
        None => false,
    };
    if !sent {
        maps::hook_stats(|stats| &raw mut stats.events_lost);
    }
}
