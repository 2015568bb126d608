//! Bulk TCP between a bulkhead and this process outside it, with buffers that are no limit.

use std::collections::HashMap;
use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use nix::sys::socket::{setsockopt, sockopt};

use super::super::paired::Side;
use super::super::sides::Sides;

/// Both buffers: five times what 1 Gbit/s has under way in 100 ms.
const BUFFER_BYTES: usize = 64 << 20;
const CHUNK_BYTES: usize = 1 << 20;
/// Until congestion windows have grown.
const WARM_UP: Duration = Duration::from_secs(4);
/// A connection that neither takes nor gives looks whether it is over.
const PATIENCE: Duration = Duration::from_millis(200);

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The agent: its data is held.
    Up,
    /// The server: the agent's acknowledgements are held.
    Down,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "sending",
            Self::Down => "receiving",
        })
    }
}

/// What was seen of some connections.
pub(super) struct Seen {
    /// At the receiver, after the warm-up.
    pub(super) gbit: f64,
    /// Counters of the kernel, from the start to the end.
    pub(super) segments: u64,
    pub(super) out_of_order: u64,
    pub(super) resent: u64,
}

pub(super) struct Streams {
    listener: TcpListener,
}

impl Streams {
    pub(super) fn new() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        // Inherited by what is accepted; the window's scale is fixed at the handshake.
        setsockopt(&listener, sockopt::RcvBufForce, &BUFFER_BYTES)?;
        setsockopt(&listener, sockopt::SndBufForce, &BUFFER_BYTES)?;
        Ok(Self { listener })
    }

    pub(super) fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Sends all that goes through `connections` for a time.
    pub(super) fn measure(
        &self,
        sides: &Sides,
        way: Way,
        connections: usize,
        time: Duration,
    ) -> Result<Seen> {
        let before = counters()?;
        let mut pairs = Vec::new();
        for _ in 0..connections {
            let agent = sides.inside(Side::Guarded, || {
                let stream = TcpStream::connect(self.address()?).context("connecting")?;
                setsockopt(&stream, sockopt::RcvBufForce, &BUFFER_BYTES)?;
                setsockopt(&stream, sockopt::SndBufForce, &BUFFER_BYTES)?;
                Ok(stream)
            })?;
            let (peer, _) = self.listener.accept()?;
            pairs.push(if way == Way::Up { (agent, peer) } else { (peer, agent) });
        }
        let (over, received) = (AtomicBool::new(false), AtomicU64::new(0));
        let (bytes, elapsed) = thread::scope(|scope| {
            let threads: Vec<_> = pairs
                .iter()
                .flat_map(|(from, to)| {
                    let (over, received) = (&over, &received);
                    [
                        scope.spawn(move || send(from, over)),
                        scope.spawn(move || take(to, over, received)),
                    ]
                })
                .collect();
            thread::sleep(WARM_UP);
            let (first, start) = (received.load(Ordering::Relaxed), Instant::now());
            thread::sleep(time);
            let bytes = received.load(Ordering::Relaxed) - first;
            let elapsed = start.elapsed();
            over.store(true, Ordering::SeqCst);
            for thread in threads {
                thread.join().map_err(|_| anyhow!("a stream panicked"))??;
            }
            Ok::<_, anyhow::Error>((bytes, elapsed))
        })?;
        let after = counters()?;
        let more = |name: &str| -> Result<u64> {
            let of = |all: &HashMap<String, u64>| all.get(name).copied().context(name.to_owned());
            Ok(of(&after)? - of(&before)?)
        };
        Ok(Seen {
            gbit: bytes as f64 * 8.0 / 1e9 / elapsed.as_secs_f64(),
            segments: more("Tcp InSegs")?,
            out_of_order: more("TcpExt TCPOFOQueue")?,
            resent: more("Tcp RetransSegs")?,
        })
    }
}

fn waits(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn send(mut stream: &TcpStream, over: &AtomicBool) -> Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let chunk = vec![0x55; CHUNK_BYTES];
    while !over.load(Ordering::Relaxed) {
        if let Err(error) = stream.write(&chunk)
            && !waits(&error)
        {
            return Err(error).context("sending");
        }
    }
    // What waits in the buffer would take seconds.
    setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
    Ok(())
}

fn take(mut stream: &TcpStream, over: &AtomicBool, received: &AtomicU64) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    while !over.load(Ordering::Relaxed) {
        match stream.read(&mut chunk) {
            Ok(count) => received.fetch_add(count as u64, Ordering::Relaxed),
            Err(error) if waits(&error) => 0,
            Err(error) => return Err(error).context("receiving"),
        };
    }
    stream.shutdown(Shutdown::Both).or_else(|error| match error.kind() {
        ErrorKind::NotConnected => Ok(()),
        _ => Err(error.into()),
    })
}

/// The kernel's counters of this namespace, as `Table Name`.
fn counters() -> Result<HashMap<String, u64>> {
    let mut all = HashMap::new();
    for file in ["snmp", "netstat"] {
        let text = std::fs::read_to_string(format!("/proc/thread-self/net/{file}"))?;
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks(2) {
            let [names, values] = pair else { continue };
            let table = names.split(':').next().unwrap_or_default();
            for (name, value) in names.split(' ').zip(values.split(' ')).skip(1) {
                // Some are signed: not those that are asked for.
                if let Ok(value) = value.parse() {
                    all.insert(format!("{table} {name}"), value);
                }
            }
        }
    }
    Ok(all)
}
