//! Parsing and judging on made-up bytes; look-ups against the real kernel, in a namespace with
//! devices of the test's own. A positive answer needs `fq`, which not every kernel has: it is
//! tested on parsed bytes here.

use proptest::prelude::*;

use super::*;
use crate::net::netlink::Messages;
use crate::net::testing::{in_own_netns, is_root, run};

const SECOND: Duration = Duration::from_secs(1);

/// A qdisc message, as the kernel would send it.
fn qdisc_payload(device: u32, handle: u32, parent: u32, kind: &str, options: &[u8]) -> Vec<u8> {
    let mut tcmsg = [0; 20];
    tcmsg[4..8].copy_from_slice(&device.to_ne_bytes());
    tcmsg[8..12].copy_from_slice(&handle.to_ne_bytes());
    tcmsg[12..16].copy_from_slice(&parent.to_ne_bytes());
    let bytes = super::super::netlink::Builder::new(36, 0)
        .raw(&tcmsg)
        .attribute(1, format!("{kind}\0").as_bytes())
        .attribute(2, options)
        .finish(0);
    Messages(&bytes).next().expect("one message").payload.to_vec()
}

/// `fq` with a packet limit and a horizon of 10 s.
fn fq(device: u32, handle: u32, parent: u32) -> Qdisc {
    let mut options = vec![8, 0, 1, 0];
    options.extend(10_000_u32.to_ne_bytes());
    options.extend([8, 0, 14, 0]);
    options.extend(10_000_000_u32.to_ne_bytes());
    table::parse_qdisc(&qdisc_payload(device, handle, parent, "fq", &options)).expect("a qdisc")
}

fn other(device: u32, handle: u32, parent: u32, kind: &str) -> Qdisc {
    table::parse_qdisc(&qdisc_payload(device, handle, parent, kind, &[])).expect("a qdisc")
}

fn verdict(qdiscs: &[Qdisc], delay: Duration) -> Result<(), EdtRefusal> {
    let device = table::assemble(2, "eth0".to_owned(), qdiscs);
    judge(IpAddr::from([192, 0, 2, 1]), 2, Some(&device), delay)
}

#[test]
fn fq_at_the_root_passes_up_to_its_horizon() {
    let root = fq(2, 0x8001_0000, u32::MAX);
    assert_eq!(root.horizon, Some(10 * SECOND));
    assert_eq!(verdict(std::slice::from_ref(&root), 9 * SECOND), Ok(()));
    let refusal = verdict(std::slice::from_ref(&root), 10 * SECOND).unwrap_err();
    assert!(refusal.reason.contains("horizon of 10s"), "{refusal}");
    let elsewhere = Qdisc { device_index: 3, ..root };
    assert!(verdict(&[elsewhere], SECOND).unwrap_err().reason.contains("no qdisc"));
}

#[test]
fn mq_passes_only_if_every_queue_has_fq() {
    let mq = other(2, 0, u32::MAX, "mq");
    // Below an mq that the kernel made by itself the parents have major number 0.
    let qdiscs = [mq.clone(), fq(2, 0, 1), fq(2, 0, 2), other(3, 0, 1, "pfifo_fast")];
    assert_eq!(verdict(&qdiscs, SECOND), Ok(()));
    let refusal =
        verdict(&[mq.clone(), fq(2, 0, 1), other(2, 0, 2, "fq_codel")], SECOND).unwrap_err();
    assert_eq!((refusal.device.as_str(), refusal.qdisc.as_str()), ("eth0", "fq_codel"));
    assert!(verdict(&[mq], SECOND).is_err());
    let clsact = other(2, 0xffff_0000, 0xffff_fff1, "clsact");
    assert_eq!(verdict(&[fq(2, 0, u32::MAX), clsact], SECOND), Ok(()));
}

#[test]
fn loopback_leaves_by_lo_and_has_no_fq() {
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        let address: IpAddr = address.parse().unwrap();
        let devices = devices().unwrap();
        let lo = devices.iter().find(|d| d.name == "lo").expect("lo");
        assert_eq!(egress_devices(address).unwrap(), [lo.index]);
        let kind = lo.root.as_ref().map_or("", |q| q.kind.as_str());
        match edt_possible(&[address], SECOND) {
            Ok(()) => assert_eq!(kind, "fq"),
            Err(refusal) => {
                assert_ne!(kind, "fq");
                assert_eq!((refusal.device.as_str(), refusal.qdisc.as_str()), ("lo", kind));
            }
        }
    }
}

#[test]
fn root_routes_and_qdiscs_of_real_devices_are_read() {
    if !is_root("root_routes_and_qdiscs_of_real_devices_are_read") {
        return;
    }
    in_own_netns(|| {
        let ip = |line: &str| run("ip", &line.split(' ').collect::<Vec<_>>());
        let tc = |line: &str| run("tc", &line.split(' ').collect::<Vec<_>>());
        ip("link add g0 numtxqueues 2 type veth peer name g1 numtxqueues 2");
        for (device, address) in [("g0", "192.0.2.1/25"), ("g1", "192.0.2.129/25")] {
            ip(&format!("link set {device} up"));
            ip(&format!("addr add {address} dev {device}"));
        }
        let index = |name: &str| {
            devices().unwrap().into_iter().find(|d| d.name == name).expect("a device").index
        };
        let to = |address: &str| egress_devices(address.parse().unwrap()).unwrap();
        assert_eq!(to("192.0.2.5"), [index("g0")]);
        assert_eq!(to("192.0.2.130"), [index("g1")]);
        assert_eq!(to("192.0.2.1"), [index("lo")], "our own address");
        assert_eq!(to("198.51.100.1"), [0; 0], "no route");
        assert_eq!(to("2001:db8::1"), [0; 0], "no IPv6 route");

        ip("route add 203.0.113.0/24 nexthop via 192.0.2.5 nexthop via 192.0.2.130");
        let mut both = [index("g0"), index("g1")];
        both.sort_unstable();
        assert_eq!(to("203.0.113.9"), both, "each next hop");

        let refusal =
            |address: &str| edt_possible(&[address.parse().unwrap()], SECOND).unwrap_err();
        tc("qdisc add dev g0 root handle 1: mq");
        tc("qdisc replace dev g0 parent 1:1 pfifo limit 100");
        let refused = refusal("192.0.2.5");
        assert_eq!(refused.device, "g0");
        assert!(refused.reason.contains("a queue below mq"), "{refused}");
        let device = devices().unwrap().into_iter().find(|d| d.name == "g0").unwrap();
        assert_eq!(device.root.unwrap().kind, "mq");
        // In the kernel's order, which is not always that of the queues.
        let kinds: Vec<_> = device.leaves.into_iter().map(|leaf| leaf.kind).collect();
        assert!(kinds.contains(&"pfifo".to_owned()) && kinds.len() == 2, "{kinds:?}");
        assert!(kinds.contains(&refused.qdisc), "{refused}");
        tc("qdisc replace dev g1 root tbf rate 1mbit burst 10kb latency 1s");
        assert_eq!(refusal("192.0.2.130").qdisc, "tbf");
        assert!(refusal("198.51.100.1").reason.contains("no route"));
    });
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let hops = route::next_hops(&bytes);
        prop_assert!(hops.len() <= bytes.len() / 8);
        if let Some(qdisc) = table::parse_qdisc(&bytes) {
            prop_assert!(bytes.len() >= 20 && qdisc.kind.len() <= 3 * bytes.len());
        }
        prop_assert!(table::parse_link(&bytes).is_none_or(|_| bytes.len() >= 16));
    }
}
