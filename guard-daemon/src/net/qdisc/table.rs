//! Devices and their queueing disciplines, as the kernel lists them.

use std::time::Duration;

use crate::net::netlink::{Attributes, Builder, Connection, DUMP, NetlinkError, REQUEST, u32_at};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
/// Length of `struct ifinfomsg` and offset of the device number in it.
const IFINFOMSG_BYTES: usize = 16;
/// Length of `struct tcmsg`. Device number, handle and parent are at 4, 8 and 12.
const TCMSG_BYTES: usize = 20;
const IFLA_IFNAME: u16 = 3;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
/// `TCA_FQ_HORIZON`, µs (Linux 5.8).
const FQ_HORIZON: u16 = 14;
/// `TC_H_ROOT`.
const PARENT_ROOT: u32 = u32::MAX;

/// A queueing discipline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// Number of its device.
    pub device_index: u32,
    /// `fq`, `mq`, `noqueue`, …
    pub kind: String,
    /// `major << 16`; 0 for those that the kernel made by itself.
    pub handle: u32,
    /// Handle of the class that it hangs below; `u32::MAX` = root.
    pub parent: u32,
    /// How far in the future a departure time may lie; `None` for others than `fq`, and for `fq`
    /// before Linux 5.8, which has no such limit.
    pub horizon: Option<Duration>,
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its root qdisc; `None` while it is down.
    pub root: Option<Qdisc>,
    /// What hangs directly below an `mq` root, one per transmit queue.
    pub leaves: Vec<Qdisc>,
}

/// Lists the devices of this network namespace.
pub fn devices() -> Result<Vec<Device>, NetlinkError> {
    let mut connection =
        Connection::open(netlink_sys::protocols::NETLINK_ROUTE, "devices and qdiscs")?;
    read(&mut connection)
}

pub(super) fn read(connection: &mut Connection) -> Result<Vec<Device>, NetlinkError> {
    let mut qdiscs = Vec::new();
    let request = Builder::new(RTM_GETQDISC, REQUEST | DUMP).raw(&[0; TCMSG_BYTES]);
    connection.request(request, |message| {
        if message.kind == RTM_NEWQDISC {
            qdiscs.extend(parse_qdisc(message.payload));
        }
        Ok(())
    })?;
    let mut devices = Vec::new();
    let request = Builder::new(RTM_GETLINK, REQUEST | DUMP).raw(&[0; IFINFOMSG_BYTES]);
    connection.request(request, |message| {
        if message.kind == RTM_NEWLINK
            && let Some((index, name)) = parse_link(message.payload)
        {
            devices.push(assemble(index, name, &qdiscs));
        }
        Ok(())
    })?;
    Ok(devices)
}

/// Puts a device together with its qdiscs.
pub(super) fn assemble(index: u32, name: String, qdiscs: &[Qdisc]) -> Device {
    let here = || qdiscs.iter().filter(|q| q.device_index == index);
    let root = here().find(|q| q.parent == PARENT_ROOT).cloned();
    let leaves = match &root {
        Some(mq) if mq.kind == "mq" => {
            { here().filter(|q| q.parent != PARENT_ROOT && q.parent >> 16 == mq.handle >> 16) }
                .cloned()
                .collect()
        }
        _ => Vec::new(),
    };
    Device { index, name, root, leaves }
}

/// Number and name of a device.
pub(super) fn parse_link(payload: &[u8]) -> Option<(u32, String)> {
    let index = u32_at(payload, 4)?;
    let name = Attributes(payload.get(IFINFOMSG_BYTES..)?)
        .find_map(|(kind, value)| (kind == IFLA_IFNAME).then(|| text(value)))?;
    Some((index, name))
}

pub(super) fn parse_qdisc(payload: &[u8]) -> Option<Qdisc> {
    let mut qdisc = Qdisc {
        device_index: u32_at(payload, 4)?,
        kind: String::new(),
        handle: u32_at(payload, 8)?,
        parent: u32_at(payload, 12)?,
        horizon: None,
    };
    let mut options = &[][..];
    for (kind, value) in Attributes(payload.get(TCMSG_BYTES..)?) {
        match kind {
            TCA_KIND => qdisc.kind = text(value),
            TCA_OPTIONS => options = value,
            _ => {}
        }
    }
    if qdisc.kind == "fq" {
        qdisc.horizon = Attributes(options)
            .find_map(|(kind, value)| if kind == FQ_HORIZON { u32_at(value, 0) } else { None })
            .map(|us| Duration::from_micros(u64::from(us)));
    }
    Some(qdisc)
}

/// A C string.
fn text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}
