//! Which devices packets to an address leave by: the kernel's own route look-up.

use std::net::IpAddr;

use crate::net::netlink::{ACK, Attributes, Builder, Connection, NetlinkError, REQUEST, u32_at};

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
/// Length of `struct rtmsg`.
const RTMSG_BYTES: usize = 12;
/// `RTM_F_FIB_MATCH`: answer with the route as it was configured, all next hops included.
const FIB_MATCH: u32 = 0x2000;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
/// Length of `struct rtnexthop`; its own length is at 0, the device number at 4.
const NEXT_HOP_BYTES: usize = 8;

/// Numbers of the devices that packets to `address` may leave by: one, or with several next hops
/// all of theirs; `lo` for addresses of this host; none if there is no route.
pub fn egress_devices(address: IpAddr) -> Result<Vec<u32>, NetlinkError> {
    let mut connection = Connection::open(netlink_sys::protocols::NETLINK_ROUTE, "a route")?;
    read(&mut connection, address)
}

pub(super) fn read(connection: &mut Connection, address: IpAddr) -> Result<Vec<u32>, NetlinkError> {
    let mut found = Vec::new();
    // The first look-up knows that packets to one of our own addresses leave by lo; only the
    // second, which does not, shows several next hops.
    for (flags, wanted) in [(0, RTA_OIF), (FIB_MATCH, RTA_MULTIPATH)] {
        let answer = connection.request(request(address, flags), |message| {
            if message.kind == RTM_NEWROUTE {
                let attributes = message.payload.get(RTMSG_BYTES..).unwrap_or_default();
                for (kind, value) in Attributes(attributes).filter(|(kind, _)| *kind == wanted) {
                    match kind {
                        RTA_OIF => found.extend(u32_at(value, 0)),
                        _ => found.extend(next_hops(value)),
                    }
                }
            }
            Ok(())
        });
        match answer {
            Ok(()) => {}
            Err(error) if is_no_route(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// `RTM_GETROUTE` for one address. An answer and the acknowledgement come for it.
fn request(address: IpAddr, flags: u32) -> Builder {
    let (family, bytes) = match address.to_canonical() {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    let mut rtmsg = [0; RTMSG_BYTES];
    rtmsg[0] = family as u8;
    rtmsg[1] = (bytes.len() * 8) as u8;
    rtmsg[8..12].copy_from_slice(&flags.to_ne_bytes());
    Builder::new(RTM_GETROUTE, REQUEST | ACK).raw(&rtmsg).attribute(RTA_DST, &bytes)
}

/// Device numbers in an `RTA_MULTIPATH`.
pub(super) fn next_hops(mut bytes: &[u8]) -> Vec<u32> {
    let mut devices = Vec::new();
    while let (Some(length), Some(device)) = (bytes.first_chunk::<2>(), u32_at(bytes, 4)) {
        let length = usize::from(u16::from_ne_bytes(*length));
        if length < NEXT_HOP_BYTES {
            break;
        }
        devices.push(device);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    devices
}

/// What the kernel says where there is no way, or a route that forbids it.
fn is_no_route(error: &NetlinkError) -> bool {
    let no_route = [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL, libc::ESRCH];
    matches!(error, NetlinkError::Refused { .. })
        && error.raw_os_error().is_some_and(|errno| no_route.contains(&errno))
}
