//! Rules that are about a share of the calls, connections or destinations only. What is drawn is
//! remembered, so that all packets of a connection or call fare alike; nothing is counted as matched
//! here.

use guard_common::abi::fault::{
    Drawn, DrawnKey, FaultRule, FaultStats, SHARE_OF_CALLS, SHARE_OF_DESTINATIONS,
    SHARE_OF_NOTHING, Subject,
};
use guard_common::logic::fault;

use crate::{atomics, maps};

#[inline(always)]
fn key(rule: &FaultRule, subject: &Subject) -> DrawnKey {
    DrawnKey { fault: rule.id, connection: subject.connection }
}

/// Whether a rule is about this connection, call or destination: drawn if it has not been yet.
#[inline(always)]
pub(crate) fn is_chosen(
    slot: u32,
    rule: &FaultRule,
    subject: &Subject,
    stats: &mut FaultStats,
) -> bool {
    if rule.share_of == SHARE_OF_NOTHING {
        return true;
    }
    if rule.share_of == SHARE_OF_DESTINATIONS {
        return fault::is_chosen_destination(rule, subject.destination);
    }
    let call = if rule.share_of == SHARE_OF_CALLS { subject.call } else { 0 };
    if let Some(drawn) = maps::drawn(key(rule, subject))
        && drawn.call == call
    {
        return drawn.hit != 0;
    }
    let hit = u32::from(maps::draw_share(slot, rule));
    atomics::add(&raw mut stats.candidates, 1);
    atomics::add(&raw mut stats.chosen, u64::from(hit));
    maps::remember_drawn(key(rule, subject), Drawn { call, hit });
    hit != 0
}

/// The same for a packet for which a gate has decided just now.
#[inline(always)]
pub(super) fn was_chosen(rule: &FaultRule, subject: &Subject) -> bool {
    match rule.share_of {
        SHARE_OF_NOTHING => true,
        SHARE_OF_DESTINATIONS => fault::is_chosen_destination(rule, subject.destination),
        _ => maps::drawn(key(rule, subject)).is_some_and(|drawn| drawn.hit != 0),
    }
}
