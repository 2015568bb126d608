//! What cannot be seen at one key: names that must exist, places that must not overlap, values
//! that must fit together, and settings that are right but surprising.

mod agents;
mod cgroups;
mod daemon;
mod endpoints;
mod fallbacks;
mod hygiene;
mod limits;
mod order;
mod recovery;
mod references;
mod resources;
mod schedules;

use super::diagnostic::{Diagnostic, Severity};
use super::read::Node;
use super::sink::Sink;

/// Runs every check.
pub(super) fn all(root: &Node, sink: &mut Sink) {
    daemon::check(root, sink);
    endpoints::check(root, sink);
    fallbacks::check(root, sink);
    cgroups::check(root, sink);
    references::check(root, sink);
    order::check(root, sink);
    limits::check(root, sink);
    hygiene::check(root, sink);
    resources::check(root, sink);
    schedules::check(root, sink);
    recovery::check(root, sink);
    agents::check(root, sink);
    if sink.is_complete() && !sink.has_errors() && root.named("bulkheads").is_empty() {
        let message = "no bulkhead is configured, so nothing is guarded";
        let found = Diagnostic::new(sink.source(), Severity::Warning, None, "bulkheads", message);
        sink.push(
            found.help("add one: [bulkheads.NAME], and run agents in it: guardctl exec NAME"),
        );
    }
}
