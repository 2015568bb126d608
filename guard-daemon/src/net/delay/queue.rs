//! The kernel's side of an NFQUEUE: bind, receive packet ids, accept, unbind.
//!
//! Spoken over netlink directly and not through the crate `nfq`, because that (0.2.5) keeps a
//! 4 KiB receive buffer alive for every packet held (32 MiB for a full queue), throws away packets
//! that arrive between its configuration steps (they would hang in the kernel for ever), knows no
//! batch verdicts, and asserts on what the kernel sends. It never drops a packet: the only
//! verdict here is "accept".

use std::io;
use std::time::Instant;

use guard_common::abi::pacing::FlowKey;
use nix::sys::socket::{setsockopt, sockopt};

use super::flow;
use crate::net::netlink::{ACK, Attributes, Builder, Connection, Messages, REQUEST};

/// `NFNL_SUBSYS_QUEUE << 8`.
const SUBSYSTEM: u16 = 3 << 8;
/// `NFQNL_MSG_PACKET`, from the kernel.
const PACKET: u16 = SUBSYSTEM;
/// `NFQNL_MSG_VERDICT`: for one packet.
const VERDICT: u16 = SUBSYSTEM | 1;
/// `NFQNL_MSG_CONFIG`.
const CONFIG: u16 = SUBSYSTEM | 2;
/// `NFQNL_MSG_VERDICT_BATCH`: one verdict for every packet up to an id.
const VERDICT_BATCH: u16 = SUBSYSTEM | 3;

/// `NFQA_PACKET_HDR`.
const PACKET_HEADER: u16 = 1;
/// `NFQA_PAYLOAD`: as much of the packet as was asked for.
const PAYLOAD: u16 = 10;
/// `NFQA_CAP_LEN`: length of a packet that was copied in part.
const PACKET_LENGTH: u16 = 13;
/// `NFQA_VERDICT_HDR`.
const VERDICT_HEADER: u16 = 2;

/// `NFQA_CFG_CMD` with `NFQNL_CFG_CMD_BIND` or `_UNBIND`.
const CONFIG_COMMAND: u16 = 1;
const BIND: u8 = 1;
const UNBIND: u8 = 2;
/// `NFQNL_CFG_CMD_PF_UNBIND`: does nothing since Linux 3.8, but needs the subsystem.
const PF_UNBIND: u8 = 4;
/// `NFQA_CFG_PARAMS` with `NFQNL_COPY_META`: ids only, no payload.
const CONFIG_PARAMETERS: u16 = 2;
const COPY_METADATA: u8 = 1;
/// `NFQNL_COPY_PACKET`, with a length: then the kernel tells how long the packet is, too.
const COPY_PACKET: u8 = 2;
/// `NFQA_CFG_QUEUE_MAXLEN`.
const CONFIG_MAX_LENGTH: u16 = 3;
/// `NFQA_CFG_MASK`, `NFQA_CFG_FLAGS`.
const CONFIG_MASK: u16 = 4;
const CONFIG_FLAGS: u16 = 5;
/// Accept what does not fit into the queue, instead of dropping it.
const FLAG_FAIL_OPEN: u32 = 1;
/// Leave GSO super-packets whole.
const FLAG_GSO: u32 = 4;

/// `NF_ACCEPT`.
const ACCEPT: u32 = 1;
/// Packets that are held at most: 1 Gbit/s in frames of Ethernet for 0.38 s. They are found by a
/// batch verdict from the front of the kernel's list, so that a long queue costs no search, and they
/// are charged to who sent them.
pub(super) const MAX_HELD: u32 = 32_768;
/// What the kernel queues for us at most (Linux 6.18 held no more than 65 536, whatever it was told). The engine lets the oldest go before that; what comes on top
/// all the same passes at once, and overtakes.
const KERNEL_LIMIT: u32 = MAX_HELD + 16_384;
/// Receive buffer: room for 16 000 metadata messages (an skb of about 1 KiB each) that wait for us.
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
/// How far ahead of the last id that we saw "accept everything" reaches. Ids are compared as
/// signed 32-bit differences.
const EVERYTHING: u32 = 1 << 30;

/// One packet that the kernel handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// The kernel's id, consecutive per queue.
    pub(super) id: u32,
    /// When it reached us.
    pub(super) arrived: Instant,
    /// Its length with headers; 0 in a queue that does not ask for lengths.
    pub(super) bytes: u32,
    /// Of which connection it is, in a queue that asks for headers.
    pub(super) flow: Option<FlowKey>,
}

/// What a queue's owner must know of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// That there is one.
    Ids,
    /// How long it is.
    Lengths,
    /// Its connection.
    Flows,
}

/// What a receive found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Packets were appended.
    Some,
    /// Nothing there.
    Nothing,
    /// The kernel could not deliver some; they passed at once.
    Overrun,
}

/// A bound queue. Closing it drops what it holds: call [`Queue::release_all_and_unbind`] first.
pub(super) struct Queue {
    connection: Connection,
    number: u16,
    last_id: u32,
}

impl Queue {
    /// Binds queue `number`, with every option set in the same message, so that no packet can
    /// come in between with another setting.
    pub(super) fn bind(number: u16, wanted: Wanted) -> io::Result<Self> {
        let mut connection =
            Connection::open(netlink_sys::protocols::NETLINK_NETFILTER, "an NFQUEUE")
                .map_err(io::Error::other)?;
        setsockopt(connection.socket(), sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES)?;
        let flags = FLAG_FAIL_OPEN | FLAG_GSO;
        let parameters = match wanted {
            Wanted::Ids => [0, 0, 0, 0, COPY_METADATA],
            Wanted::Lengths => [0, 0, 0, 1, COPY_PACKET],
            Wanted::Flows => [0, 0, 0, flow::HEADER_BYTES, COPY_PACKET],
        };
        let message = config(number)
            .attribute(CONFIG_COMMAND, &[BIND, 0, 0, 0])
            .attribute(CONFIG_PARAMETERS, &parameters)
            .attribute(CONFIG_MAX_LENGTH, &KERNEL_LIMIT.to_be_bytes())
            .attribute(CONFIG_MASK, &flags.to_be_bytes())
            .attribute(CONFIG_FLAGS, &flags.to_be_bytes());
        acknowledged(&mut connection, message)?;
        Ok(Self { connection, number, last_id: 0 })
    }

    /// Asks whether the kernel has the subsystem (and loads its module), changing nothing.
    pub(super) fn probe() -> io::Result<()> {
        let mut connection =
            Connection::open(netlink_sys::protocols::NETLINK_NETFILTER, "an NFQUEUE")
                .map_err(io::Error::other)?;
        let message = config(0).attribute(CONFIG_COMMAND, &[PF_UNBIND, 0, 0, 2]);
        acknowledged(&mut connection, message)
    }

    /// For poll(2).
    pub(super) fn socket(&self) -> &netlink_sys::Socket {
        self.connection.socket()
    }

    /// Takes one datagram, if there is one, and appends its packets.
    pub(super) fn receive(&mut self, packets: &mut Vec<Packet>) -> io::Result<Received> {
        let datagram = match self.connection.receive(libc::MSG_DONTWAIT) {
            Ok(datagram) => datagram,
            Err(e) => {
                return match e.raw_os_error() {
                    Some(libc::EAGAIN | libc::EINTR) => Ok(Received::Nothing),
                    Some(libc::ENOBUFS) => Ok(Received::Overrun),
                    _ => Err(e),
                };
            }
        };
        let arrived = Instant::now();
        for message in Messages(datagram) {
            // Errors here answer verdicts about packets that the kernel gave up by itself (their
            // device went away): there is nothing left to accept.
            if message.kind != PACKET {
                continue;
            }
            let (mut id, mut bytes, mut of) = (None, 0, None);
            for (kind, value) in Attributes(message.payload.get(4..).unwrap_or_default()) {
                let number = value.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
                match kind {
                    PACKET_HEADER => id = number,
                    PACKET_LENGTH => bytes = number.unwrap_or_default(),
                    PAYLOAD => of = flow::of(value),
                    _ => {}
                }
            }
            if let Some(id) = id {
                self.last_id = id;
                packets.push(Packet { id, arrived, bytes, flow: of });
            }
        }
        Ok(Received::Some)
    }

    /// Accepts one packet; one that is gone is as good.
    pub(super) fn accept_one(&mut self, id: u32) -> io::Result<()> {
        self.accept(VERDICT, id)
    }

    /// Accepts every packet up to and including `id`.
    pub(super) fn accept_up_to(&mut self, id: u32) -> io::Result<()> {
        self.accept(VERDICT_BATCH, id)
    }

    fn accept(&mut self, kind: u16, id: u32) -> io::Result<()> {
        let mut verdict = [0; 8];
        verdict[..4].copy_from_slice(&ACCEPT.to_be_bytes());
        verdict[4..].copy_from_slice(&id.to_be_bytes());
        let message = Builder::new(kind, REQUEST)
            .raw(&nfgenmsg(self.number))
            .attribute(VERDICT_HEADER, &verdict);
        self.connection.send(message).map_err(io::Error::other)
    }

    /// Accepts everything that the kernel holds, whether we have seen it or not.
    pub(super) fn accept_all(&mut self) -> io::Result<()> {
        self.accept_up_to(self.last_id.wrapping_add(EVERYTHING))
    }

    /// Lets packets pass at once, without a visit here (`true`), or holds them again.
    pub(super) fn set_transparent(&mut self, transparent: bool) -> io::Result<()> {
        // A queue of length 0 is always full, and a full queue fails open.
        let length = if transparent { 0 } else { KERNEL_LIMIT };
        let message =
            config_unacknowledged(self.number).attribute(CONFIG_MAX_LENGTH, &length.to_be_bytes());
        self.connection.send(message).map_err(io::Error::other)
    }

    /// Gives up the queue without losing a packet: unbinding drops what is still queued, so new
    /// packets are made to pass first, and what came in between is accepted.
    pub(super) fn release_all_and_unbind(&mut self) -> io::Result<()> {
        self.accept_all()?;
        self.set_transparent(true)?;
        self.accept_all()?;
        let message =
            config_unacknowledged(self.number).attribute(CONFIG_COMMAND, &[UNBIND, 0, 0, 0]);
        self.connection.send(message).map_err(io::Error::other)
    }
}

/// `struct nfgenmsg` with a queue number.
fn nfgenmsg(queue: u16) -> [u8; 4] {
    let [high, low] = queue.to_be_bytes();
    [libc::AF_UNSPEC as u8, 0, high, low]
}

fn config(queue: u16) -> Builder {
    Builder::new(CONFIG, REQUEST | ACK).raw(&nfgenmsg(queue))
}

/// Without an acknowledgement, for use while packets may be waiting in the socket.
fn config_unacknowledged(queue: u16) -> Builder {
    Builder::new(CONFIG, REQUEST).raw(&nfgenmsg(queue))
}

/// Sends a configuration message and waits for the kernel's yes or no.
fn acknowledged(connection: &mut Connection, message: Builder) -> io::Result<()> {
    connection.request(message, |_| Ok(())).map_err(|e| match e.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::other(e),
    })
}
