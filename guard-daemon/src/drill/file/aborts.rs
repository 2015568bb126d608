//! `[[abort]]`: everything about it is said by its keys.

use super::pairs;
use crate::config::Node;
use crate::drill::spec::Abort;

/// All abort conditions; those with an error are left out.
pub(super) fn read(root: &Node) -> Vec<Abort> {
    root.list("abort").iter().filter_map(abort).collect()
}

fn abort(node: &Node) -> Option<Abort> {
    Some(Abort {
        pairs: pairs(node)?,
        success_rate_below: node.number("success_rate_below")?,
        window: node.duration("for")?,
        min_calls: node.integer("min_calls")?,
    })
}
