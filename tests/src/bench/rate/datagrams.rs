//! A flow of numbered datagrams at a rate: each must come once, in order, and held.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use nix::sys::socket::{setsockopt, sockopt};

use super::super::paired::Side;
use super::super::probe::{datagram, now_ns};
use super::super::sides::Sides;
use super::LATENCY;

const BUFFER_BYTES: usize = 128 << 20;
/// Datagrams come no earlier than this before their time, if they were held.
const MARGIN: Duration = Duration::from_millis(5);
/// What a sender that was kept from its work sends at once.
const BURST: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_millis(1);

/// What came of a flow.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) gbit: f64,
    pub(super) sent: usize,
    pub(super) came: usize,
    /// Had one with a higher number before it.
    pub(super) out_of_order: usize,
    /// Came too early: the queue was full.
    pub(super) not_held: usize,
}

pub(super) struct Receiver {
    socket: UdpSocket,
}

impl Receiver {
    pub(super) fn new() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES)?;
        socket.set_read_timeout(Some(LATENCY * 3))?;
        Ok(Self { socket })
    }

    pub(super) fn address(&self) -> Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    /// Sends at a rate for a time.
    pub(super) fn measure(
        &self,
        sides: &Sides,
        bytes: usize,
        gbit: f64,
        time: Duration,
    ) -> Result<Seen> {
        let sender = sides.inside(Side::Guarded, || {
            let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            setsockopt(&sender, sockopt::SndBufForce, &BUFFER_BYTES)?;
            sender.connect(self.address()?)?;
            Ok(sender)
        })?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let taking = scope.spawn(|| self.take(bytes, &over));
            let sent = send(&sender, bytes, gbit, time);
            over.store(true, Ordering::SeqCst);
            let mut seen = taking.join().map_err(|_| anyhow!("the receiver panicked"))??;
            seen.sent = sent?;
            Ok(seen)
        })
    }

    fn take(&self, size: usize, over: &AtomicBool) -> Result<Seen> {
        let mut seen = Seen::default();
        let mut buffer = vec![0; size];
        let (mut newest, mut first, mut last) = (None, None, Instant::now());
        loop {
            let ended = over.load(Ordering::SeqCst);
            let Ok(_) = self.socket.recv(&mut buffer) else {
                if ended {
                    break;
                }
                continue;
            };
            last = Instant::now();
            first.get_or_insert(last);
            let word =
                |from: usize| buffer[from..from + 8].first_chunk().copied().map(u64::from_ne_bytes);
            let (number, sent_ns) = word(0).zip(word(8)).context("a short datagram")?;
            seen.came += 1;
            seen.out_of_order += usize::from(newest.is_some_and(|newest| newest > number));
            newest = newest.max(Some(number));
            let held = Duration::from_nanos(now_ns()?.saturating_sub(sent_ns));
            seen.not_held += usize::from(held + MARGIN < LATENCY);
        }
        let took = first.map_or(Duration::ZERO, |first| last.duration_since(first));
        seen.gbit = (seen.came * size * 8) as f64 / 1e9 / took.as_secs_f64();
        Ok(seen)
    }
}

/// Every millisecond as many as are due, but no more than [`BURST`] after it was kept from that; how
/// many those were.
fn send(sender: &UdpSocket, size: usize, gbit: f64, time: Duration) -> Result<usize> {
    let interval = Duration::from_secs_f64(size as f64 * 8.0 / gbit / 1e9);
    let start = Instant::now();
    let (mut sent, mut next) = (0, start);
    let mut bytes = vec![0; size];
    while start.elapsed() < time {
        let now = Instant::now();
        next = next.max(now.checked_sub(BURST).unwrap_or(now));
        while next < now {
            bytes[..16].copy_from_slice(&datagram(sent as u64, now_ns()?));
            sender.send(&bytes)?;
            sent += 1;
            next += interval;
        }
        thread::sleep(PAUSE);
    }
    Ok(sent)
}
