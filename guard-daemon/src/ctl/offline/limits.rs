//! `guardctl check` about limits: what this host could not enforce. The file may be for another
//! host, so that it is an error only where the file says so itself (`daemon.strict`).

use crate::cgroup::limits::preflight;
use crate::plan::Plan;

/// What to say, and whether the file is of no use here.
pub(super) fn on_this_host(plan: &Plan) -> (String, bool) {
    let mut text = String::new();
    let mut fatal = false;
    for finding in preflight(plan) {
        let is_error = finding.fatal && plan.daemon.strict;
        fatal |= is_error;
        let (what, effect) = match (is_error, finding.fatal) {
            (true, _) => ("error", "cannot be enforced on this host, and daemon.strict is set"),
            (false, true) => ("note", "would not be enforced on this host"),
            (false, false) => ("note", "is odd on this host"),
        };
        text.push_str(&format!(
            "  {what}: bulkheads.{}.{} {effect}: {}\n  help: {}\n",
            finding.bulkhead, finding.key, finding.refusal.why, finding.refusal.cure
        ));
    }
    (text, fatal)
}
