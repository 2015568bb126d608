//! Whether the EDT delay engine works towards given addresses: the device that a packet leaves by
//! must have the queueing discipline `fq`, which alone honours a packet's departure time; all
//! others ignore it silently. Read-only: nothing is changed, and no packet is sent.
//!
//! Read with our own netlink plumbing: three small messages, of which `netlink-packet-route`
//! would refuse the whole for one attribute that it does not know, and which has no `fq`.

use std::net::IpAddr;
use std::time::Duration;

use super::netlink::{Connection, NetlinkError};

mod route;
mod table;
#[cfg(test)]
mod tests;

pub use route::egress_devices;
pub use table::{Device, Qdisc, devices};

/// Why EDT cannot delay packets to an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("EDT cannot delay packets to {address}: {reason}")]
pub struct EdtRefusal {
    /// The first address for which it is so.
    pub address: IpAddr,
    /// The device that packets to it leave by; empty if there is none.
    pub device: String,
    /// What that device has instead of `fq`; empty if there is none.
    pub qdisc: String,
    /// What is wrong and what would cure it.
    pub reason: String,
}

/// `Ok` only if a departure time set on packets to each of these addresses is honoured and lies
/// within the horizon of the device's `fq`, up to `longest_delay`. With several next hops each
/// must pass. The answer holds until somebody changes routes or qdiscs.
pub fn edt_possible(addresses: &[IpAddr], longest_delay: Duration) -> Result<(), EdtRefusal> {
    let unreadable = |address: IpAddr| {
        move |error: NetlinkError| EdtRefusal {
            address,
            device: String::new(),
            qdisc: String::new(),
            reason: error.to_string(),
        }
    };
    let Some(first) = addresses.first() else { return Ok(()) };
    let mut connection =
        Connection::open(netlink_sys::protocols::NETLINK_ROUTE, "devices, qdiscs and routes")
            .map_err(unreadable(*first))?;
    let devices = table::read(&mut connection).map_err(unreadable(*first))?;
    for address in addresses {
        let indexes = route::read(&mut connection, *address).map_err(unreadable(*address))?;
        if indexes.is_empty() {
            return Err(EdtRefusal {
                address: *address,
                device: String::new(),
                qdisc: String::new(),
                reason: "there is no route to it".to_owned(),
            });
        }
        for index in indexes {
            let device = devices.iter().find(|d| d.index == index);
            judge(*address, index, device, longest_delay)?;
        }
    }
    Ok(())
}

/// The decision for one egress device.
fn judge(
    address: IpAddr,
    index: u32,
    device: Option<&Device>,
    longest_delay: Duration,
) -> Result<(), EdtRefusal> {
    let refuse = |device: &str, qdisc: &str, reason: String| {
        Err(EdtRefusal { address, device: device.to_owned(), qdisc: qdisc.to_owned(), reason })
    };
    let Some(device) = device else {
        return refuse("", "", format!("its device number {index} has just gone"));
    };
    let name = device.name.as_str();
    let Some(root) = &device.root else {
        return refuse(name, "", format!("device {name} has no qdisc (is it down?)"));
    };
    let leaves = if root.kind == "mq" { &device.leaves[..] } else { std::slice::from_ref(root) };
    if leaves.is_empty() {
        return refuse(name, &root.kind, format!("device {name}: mq shows no queues"));
    }
    for leaf in leaves {
        if leaf.kind != "fq" {
            let place = if root.kind == "mq" { "a queue below mq" } else { "its root qdisc" };
            return refuse(
                name,
                &leaf.kind,
                format!(
                    "device {name} has {} as {place}, which ignores departure times; \
                     `tc qdisc replace dev {name} root fq` would make it possible (kernel module \
                     sch_fq), or let guard use NFQUEUE",
                    leaf.kind
                ),
            );
        }
        if let Some(horizon) = leaf.horizon
            && longest_delay >= horizon
        {
            return refuse(
                name,
                "fq",
                format!(
                    "fq on device {name} has a horizon of {horizon:?} and a delay of up to \
                     {longest_delay:?} would be cut or dropped; ask for less, or raise the \
                     horizon with `tc qdisc change`"
                ),
            );
        }
    }
    Ok(())
}
