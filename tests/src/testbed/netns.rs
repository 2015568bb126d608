//! Two network namespaces joined by a veth pair: a client's side and a server's side that can
//! also swallow or reject. Nothing of it is reachable from the host, no packet leaves it, and
//! it goes on drop.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

/// First three bytes of the network inside: TEST-NET-2, routed nowhere.
pub const NETWORK: [u8; 3] = [198, 51, 100];
/// First two words of the IPv6 network inside: the documentation prefix.
pub const NETWORK_V6: [u16; 2] = [0x2001, 0xdb8];

/// Addresses of the wire's ends: client, server.
const MACS: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];

/// A client's namespace and a server's namespace with a wire between them.
#[derive(Debug)]
pub struct Network {
    /// Where agents run.
    pub client: Namespace,
    /// Where servers run; also the client's only router.
    pub server: Namespace,
}

/// One network namespace; deleted on drop, with the devices in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Network {
    /// 198.51.100.1 and 2001:db8::1 at the client, .2 and ::2 at the server.
    pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    /// The server's address.
    pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
    /// The client's IPv6 address.
    pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    /// The server's IPv6 address.
    pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
    /// Behind the server; every packet to it is dropped in silence.
    pub const BLACKHOLE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);
    /// Behind the server; answered with ICMP host unreachable (EHOSTUNREACH).
    pub const UNREACHABLE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 67);

    /// Makes both namespaces and the wire.
    pub fn new() -> Result<Self> {
        let network = Self { client: Namespace::new("c")?, server: Namespace::new("s")? };
        let (client, server) = (&network.client, &network.server);
        let peer = ["peer", "name", "wire", "address", MACS[1], "netns", &server.name];
        let link = ["link", "add", "wire", "address", MACS[0], "type", "veth"];
        client.ip(&[&link[..], &peer[..]].concat())?;
        for (number, side) in (1..).zip([client, server]) {
            side.ip(&["addr", "add", &format!("198.51.100.{number}/30"), "dev", "wire"])?;
            side.ip(&["addr", "add", &format!("2001:db8::{number}/64"), "dev", "wire", "nodad"])?;
            side.ip(&["link", "set", "lo", "up"])?;
            side.ip(&["link", "set", "wire", "up"])?;
        }
        // Without these, IPv6 would be deaf for its first second or two on a new wire.
        for (side, other) in [(client, 2), (server, 1)] {
            for address in [format!("198.51.100.{other}"), format!("2001:db8::{other}")] {
                let mac = ["lladdr", MACS[other - 1], "nud", "permanent", "dev", "wire"];
                side.ip(&[&["neigh", "replace", &address], &mac[..]].concat())?;
            }
        }
        client.ip(&["route", "add", "198.51.100.64/26", "via", "198.51.100.2"])?;
        server.ip(&["route", "add", "blackhole", "198.51.100.66/32"])?;
        server.ip(&["route", "add", "unreachable", "198.51.100.67/32"])?;
        server.run(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        Ok(network)
    }

    /// Takes the wire down or up again: packets are lost without a word either way.
    pub fn set_up(&self, up: bool) -> Result<()> {
        // At the server's end: the client's own link stays, as with a distant failure.
        self.server.ip(&["link", "set", "wire", if up { "up" } else { "down" }])
    }

    /// Makes the server's side drop every packet from the client for `address`, or stop doing so.
    pub fn set_dropping(&self, address: IpAddr, dropping: bool) -> Result<()> {
        let program = if address.is_ipv4() { "iptables" } else { "ip6tables" };
        let verb = if dropping { "-A" } else { "-D" };
        self.server.run(&[program, "-w", verb, "INPUT", "-d", &address.to_string(), "-j", "DROP"])
    }
}

impl Namespace {
    fn new(side: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("guard-test-{}-{number}-{side}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        Ok(Self { name })
    }

    /// Name, as `ip netns` lists it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same command, started inside. Unlike `ip netns exec` it keeps the mounts, so that
    /// cgroup paths stay visible.
    #[must_use]
    pub fn wrap(&self, command: &Command) -> Command {
        let mut wrapped = Command::new("nsenter");
        wrapped.arg(format!("--net=/run/netns/{}", self.name)).arg("--");
        wrapped.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped
    }

    /// Runs a command inside and waits for it.
    pub fn run(&self, words: &[&str]) -> Result<()> {
        let (program, args) = words.split_first().context("no command")?;
        run(&mut self.wrap(Command::new(program).args(args)))
    }

    fn ip(&self, args: &[&str]) -> Result<()> {
        run(Command::new("ip").args(["-n", &self.name]).args(args))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("ip").args(["netns", "del", &self.name])) {
            eprintln!("testbed: {error:#}");
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
