//! Kernel events as records for people.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use guard_common::abi::creation::{KIND_NAMES, KINDS};
use guard_common::abi::event::{
    EVENT_CALL, EVENT_CALL_FAILED, EVENT_CLOSED, EVENT_CONNECT_FAILED, EVENT_CONNECTED,
    EVENT_FAULT_REFUSED, EVENT_SOCKET_REFUSED, EVENT_STALE, Event,
};
use guard_common::abi::outcome::{Origin, Outcome};

use guard_common::logic::creation;

use crate::control::api::EventRecord;
use crate::kernel::wall_of_boottime_ns;
use crate::plan::Ids;

/// `address:port` of a peer as the kernel side has it; IPv4 addresses without their mapping.
pub fn peer_text(address: [u8; 16], port: u32) -> String {
    let address = Ipv6Addr::from(address);
    let address = address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4);
    SocketAddr::new(address, port as u16).to_string()
}

/// A kernel event with names and wall-clock time. Numbers that this daemon does not know are
/// shown as they are.
pub fn decode(event: &Event, ids: &Ids) -> EventRecord {
    let kind = match event.kind {
        EVENT_CONNECT_FAILED => "connect_failed".to_owned(),
        EVENT_CONNECTED => "connected".to_owned(),
        EVENT_CALL => "call".to_owned(),
        EVENT_CALL_FAILED => "call_failed".to_owned(),
        EVENT_CLOSED => "closed".to_owned(),
        EVENT_FAULT_REFUSED => "fault_refused".to_owned(),
        EVENT_STALE => "stale_connection".to_owned(),
        EVENT_SOCKET_REFUSED => "socket_refused".to_owned(),
        other => format!("kernel_event_{other}"),
    };
    let has_outcome = !matches!(event.kind, EVENT_CONNECTED | EVENT_CLOSED | EVENT_SOCKET_REFUSED);
    let outcome = match Outcome::from_u32(event.outcome) {
        Some(outcome) if has_outcome => outcome.name().to_owned(),
        _ => String::new(),
    };
    let origin = if event.origin == Origin::Injected as u32 {
        Origin::Injected.name()
    } else {
        Origin::Real.name()
    };
    let wall_ns = wall_of_boottime_ns(event.time_ns);
    let time = jiff::Timestamp::from_nanosecond(wall_ns).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let refused_socket = event.kind == EVENT_SOCKET_REFUSED;
    EventRecord {
        seq: 0,
        time: time.to_string(),
        kind,
        bulkhead: ids.bulkhead_name(event.bulkhead).to_owned(),
        service: if refused_socket {
            String::new()
        } else {
            ids.service_name(event.service).to_owned()
        },
        outcome,
        origin: origin.to_owned(),
        peer: if refused_socket { String::new() } else { peer_text(event.peer, event.peer_port) },
        pid: (event.pid != 0).then_some(event.pid),
        seconds: (event.duration_ns != 0)
            .then(|| Duration::from_nanos(event.duration_ns).as_secs_f64()),
        fault: (event.fault != 0).then_some(event.fault),
        message: if refused_socket {
            socket_text(event.peer_port, event.status, event.errno)
        } else if event.status == 0 {
            errno_text(event.errno)
        } else {
            format!("HTTP {}", event.status)
        },
    }
}

/// What socket was refused, and how.
fn socket_text(socket_type: u32, protocol: u32, errno: u32) -> String {
    let kind = KIND_NAMES[creation::kind(socket_type, protocol) as usize % KINDS];
    let errno = errno_text(errno);
    format!("socket of kind {kind} (type {socket_type}, protocol {protocol}): {errno}")
}

fn errno_text(errno: u32) -> String {
    match i32::try_from(errno) {
        Ok(errno) if errno > 0 => nix::errno::Errno::from_raw(errno).to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn peers_read_as_people_write_them() {
        let v4 = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
        assert_eq!(peer_text(v4, 443), "127.0.0.1:443");
        assert_eq!(peer_text(Ipv6Addr::LOCALHOST.octets(), 80), "[::1]:80");
    }

    proptest! {
        #[test]
        fn any_event_decodes(kind: u32, outcome: u32, origin: u32, time_ns: u64, errno: u32, peer: [u8; 16], port: u32) {
            let event = Event { kind, outcome, origin, time_ns, errno, peer, peer_port: port, ..Event::default() };
            let record = decode(&event, &Ids::default());
            prop_assert!(!record.kind.is_empty());
        }
    }
}
