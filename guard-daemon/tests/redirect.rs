//! Redirects to what guardd itself serves, on the running kernel: needs root. The process of this test
//! goes into a cgroup of its own, so that it is the agent too.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may die of what it did not expect")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use guard_common::abi::breaker::{BREAKER_FORCE_OPEN, BreakerPolicy};
use guard_common::abi::ids::PairKey;
use guard_common::abi::policy::{Control, FLAG_FALLBACKS};
use guard_daemon::cgroup::Hierarchy;
use guard_daemon::kernel::{Asked, EndpointRule, Kernel, LoadOptions, Place, Places};

const BULKHEAD: u32 = 1;
const SERVICE: u32 = 7;
const LIMIT: Duration = Duration::from_secs(10);

/// A cgroup with this process in it; both go back.
struct Inside {
    cgroup: PathBuf,
    before: PathBuf,
}

impl Inside {
    fn new() -> Self {
        let hierarchy = Hierarchy::discover().unwrap();
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
        let before = hierarchy.mount_point().join(own);
        let name = format!("guard-test-redirect-{}", std::process::id());
        let cgroup = hierarchy.mount_point().join(name);
        std::fs::create_dir(&cgroup).unwrap();
        let inside = Self { cgroup, before };
        go_to(&inside.cgroup).unwrap();
        inside
    }
}

fn go_to(cgroup: &Path) -> std::io::Result<()> {
    std::fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
}

impl Drop for Inside {
    fn drop(&mut self) {
        let gone = go_to(&self.before).and_then(|()| std::fs::remove_dir(&self.cgroup));
        if let Err(error) = gone {
            eprintln!("{}: {error}", self.cgroup.display());
        }
    }
}

/// Who has the next connection: its address there, and the connection.
fn accepted(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    listener.set_nonblocking(true).unwrap();
    match listener.accept() {
        Ok(accepted) => Some(accepted),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

/// Connects to `to`; whether the gateway has the connection, and what is known of it there. The
/// connection is closed then, and nothing is known of it any more.
fn connect(
    kernel: &Kernel,
    service: &TcpListener,
    gateway: &TcpListener,
    to: SocketAddr,
) -> Option<Asked> {
    let client = TcpStream::connect(to).unwrap();
    assert_eq!(client.peer_addr().unwrap(), to, "what was asked for");
    let Some((other_end, from)) = accepted(gateway) else {
        assert!(accepted(service).is_some(), "{to}: nobody has it");
        return None;
    };
    assert!(accepted(service).is_none());
    let asked =
        kernel.asking().asked(from).unwrap_or_else(|| panic!("{to}: nothing is known of {from}"));
    // The client first, so that the end of its socket is the last thing that happens.
    drop(other_end);
    drop(client);
    let since = Instant::now();
    while kernel.asking().asked(from).is_some() {
        assert!(since.elapsed() < LIMIT, "{from} is remembered after its end");
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(asked)
}

#[test]
fn root_the_gateway_knows_what_was_asked_for_and_is_used_only_while_it_is_alive() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED redirect: loading programs needs root");
        return;
    }
    let options = LoadOptions { pairs: 100, endpoints: 100, breakers: 100, limits: 100 };
    let mut kernel = Kernel::load(options, None).unwrap();
    let inside = Inside::new();
    let listen = |at: &str| TcpListener::bind(at).unwrap();
    let (service, gateway) = (listen("127.0.0.1:0"), listen("127.0.0.1:0"));
    let (service6, gateway6) = (listen("[::1]:0"), listen("[::1]:0"));
    let at = |listener: &TcpListener| listener.local_addr().unwrap();
    let rule = |listener: &TcpListener| EndpointRule {
        net: at(listener).ip().into(),
        port: Some(at(listener).port()),
        service: SERVICE,
    };
    kernel.set_control(Control { flags: FLAG_FALLBACKS, ..Control::default() }).unwrap();
    kernel.set_endpoints(&[rule(&service), rule(&service6)]).unwrap();
    let (v4, v6) = (Some(at(&gateway)), Some(at(&gateway6)));
    let place = Place { v4, v6, forced: false, served: true, stale: true };
    let places = Places { refused: None, always: Some(place) };
    kernel.set_fallbacks(&BTreeMap::from([(SERVICE, places)])).unwrap();
    let cgroup = File::open(&inside.cgroup).unwrap();
    let id = cgroup.metadata().unwrap().ino();
    let attached = kernel.attach(&cgroup, id, Path::new("test"), BULKHEAD, 15).unwrap();

    let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{}", at(&service).port()).parse().unwrap();
    let ask4 = |kernel: &Kernel, to| connect(kernel, &service, &gateway, to);
    // Nobody has said that the gateway is alive.
    assert_eq!(ask4(&kernel, at(&service)), None);
    kernel.serve_for(Duration::from_mins(1)).unwrap();
    let wanted = |destination, refused| {
        Some(Asked { destination, bulkhead: BULKHEAD, service: SERVICE, refused })
    };
    for to in [at(&service), mapped] {
        // A mapped address is that of IPv4.
        assert_eq!(ask4(&kernel, to), wanted(at(&service), false), "{to}");
    }
    let six = connect(&kernel, &service6, &gateway6, at(&service6));
    assert_eq!(six, wanted(at(&service6), false));
    // The breaker refuses: the gateway is told.
    let pair = PairKey { bulkhead: BULKHEAD, service: SERVICE };
    let open = BreakerPolicy { mode: BREAKER_FORCE_OPEN, errno: 111, ..BreakerPolicy::default() };
    kernel.set_breakers(&BTreeMap::from([(pair, open)])).unwrap();
    assert_eq!(ask4(&kernel, at(&service)), wanted(at(&service), true));
    // One that has nothing to give then gets no such calls.
    let fresh = Places { refused: None, always: Some(Place { stale: false, ..place }) };
    kernel.set_fallbacks(&BTreeMap::from([(SERVICE, fresh)])).unwrap();
    let refused = TcpStream::connect(at(&service)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    kernel.set_breakers(&BTreeMap::new()).unwrap();
    // Switched on by hand, it answers instead of the service, whose breaker is closed.
    let forced = Places { refused: Some(Place { forced: true, ..place }), always: None };
    kernel.set_fallbacks(&BTreeMap::from([(SERVICE, forced)])).unwrap();
    assert_eq!(ask4(&kernel, at(&service)), wanted(at(&service), true));
    let stats = kernel.counters().unwrap()[&pair];
    assert_eq!((stats.redirected, stats.connects), (2, 7), "those that the service had no part in");
    // It dies: its lease runs out, and connects go straight to the service.
    kernel.serve_for(Duration::from_millis(100)).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(ask4(&kernel, at(&service)), None);
    drop(attached);
}
