//! `[daemon]`: settings that are right but surprising.

use crate::config::read::Node;
use crate::config::sink::Sink;

pub(super) fn check(root: &Node, sink: &mut Sink) {
    let Some(daemon) = root.table("daemon") else { return };
    if let (Some(field), Some(address)) =
        (daemon.field("metrics_listen"), daemon.listen("metrics_listen"))
        && !address.ip().to_canonical().is_loopback()
    {
        let message = format!("metrics will be readable from the network at {address}");
        let help = "there is no authentication; use \"127.0.0.1:9729\", or let a firewall decide \
                    who may read it";
        sink.warning(&field.span, &field.path, message, "not a loopback address", help);
    }
}
