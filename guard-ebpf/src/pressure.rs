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
    if control.flags & FLAG_PRESSURE == 0 || !is_stream || destination.protected {
        return 0;
    }
    let Some(switch) = maps::pressure(pair.bulkhead) else { return 0 };
    if switch.until_ns < socket::now_ns() {
        return 0;
    }
    if let Some(count) = maps::pressure_refused(pair.bulkhead) {
        atomics::add(count, 1);
    }
    if let Some(stats) = maps::pair_stats(pair) {
        socket::count_call(stats, Outcome::Rejected, Origin::Real);
    }
    switch.errno
}
