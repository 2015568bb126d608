//! New connections of a bulkhead that presses against its resources. A daemon that is gone refuses
//! nothing: its word holds for some seconds only.

use guard_common::abi::ids::PairKey;
use guard_common::abi::outcome::{Origin, Outcome};
use guard_common::abi::policy::{Control, FLAG_PRESSURE};

use crate::classify::Destination;
use crate::{atomics, maps, socket};

/// The errno for a new connection, counted; 0 = it may go on. Datagrams pass: without names there is
/// no way back. Costs one test of a bit while no bulkhead is under pressure.
#[inline(always)]
pub(crate) fn refused(
    control: &Control,
    pair: PairKey,
    destination: Destination,
    is_stream: bool,
) -> u32 {
    if !is_asked_for(control) || !is_stream || destination.protected {
        return 0;
    }
    let errno = errno(pair.bulkhead);
    if errno != 0
        && let Some(stats) = maps::pair_stats(pair)
    {
        socket::count_call(stats, Outcome::Rejected, Origin::Real);
    }
    errno
}

#[inline(always)]
const fn is_asked_for(control: &Control) -> bool {
    control.flags & FLAG_PRESSURE != 0
}

/// Whether any bulkhead refuses new connections.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    maps::control().is_some_and(is_asked_for)
}

/// What a new connection inside this bulkhead gets, counted; 0 = it may go on.
#[inline(always)]
pub(crate) fn errno(bulkhead: u32) -> u32 {
    let Some(switch) = maps::pressure(bulkhead) else { return 0 };
    if switch.until_ns < socket::now_ns() || switch.errno == 0 {
        return 0;
    }
    if let Some(count) = maps::pressure_refused(bulkhead) {
        atomics::add(count, 1);
    }
    switch.errno
}
