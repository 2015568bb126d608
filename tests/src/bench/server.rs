//! The peer of the measured connections: a process of its own outside every bulkhead, as cheap
//! as can be, so that it hides nothing of what guard costs.

use std::io::{BufRead as _, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use testbed::process::Process;

use super::cpu::Pinned;

/// Size of one read or write of bulk data.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// Workers of the pool: more than a flood of the benchmarks keeps busy where nothing limits it.
const POOL: usize = 400;

/// What a connection is for; its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Everything comes back.
    Echo = b'e' as isize,
    /// The client sends a length (8 bytes, little-endian) and as many bytes; one byte answers.
    Drain = b'd' as isize,
    /// The client sends a length, as many bytes come back.
    Source = b's' as isize,
}

/// A running server.
pub(crate) struct Server {
    _process: Process,
    /// Where [`Service`]s are.
    pub(crate) data: SocketAddr,
    /// Where connections are accepted, and closed once the client has closed.
    pub(crate) accept: SocketAddr,
    /// Where threads that are there already send back what comes, as servers with a pool of workers do:
    /// nothing is made for a connection but its socket.
    pub(crate) pool: SocketAddr,
}

impl Server {
    /// Starts it, on one processor if `cpu` is given.
    pub(crate) fn start(cpu: Option<usize>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve");
        if let Some(cpu) = cpu {
            command.args(["--cpu", &cpu.to_string()]);
        }
        let mut process = Process::spawn(&mut command)?;
        let line = process.next_line(Duration::from_secs(10))?;
        let mut addresses = line.split(' ').map(str::parse);
        let mut next = || addresses.next().context("the server said nothing useful");
        let [data, accept, pool] = [next()??, next()??, next()??];
        Ok(Self { data, accept, pool, _process: process })
    }

    /// A connection to a service.
    pub(crate) fn connect(&self, service: Service) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.data).context("connecting to the bench server")?;
        stream.set_nodelay(true)?;
        stream.write_all(&[service as u8])?;
        Ok(stream)
    }
}

/// The server's process: prints its two addresses and serves until standard input is closed.
pub(crate) fn serve(cpu: Option<usize>) -> Result<()> {
    let _pinned = cpu.map(Pinned::to).transpose()?;
    let data = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let accept = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // Inherited by accepted sockets: they close with a reset, which ends the client's side too and
    // leaves no TIME_WAIT; hundreds of thousands of connects would run out of ports otherwise.
    setsockopt(&accept, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
    listen(&accept, Backlog::new(4096)?)?;
    let pool = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{} {} {}", data.local_addr()?, accept.local_addr()?, pool.local_addr()?);
    for _ in 0..POOL {
        let pool = pool.try_clone()?;
        thread::spawn(move || {
            for stream in pool.incoming().flatten() {
                // A connection ends with its client; why does not matter here.
                drop(echo(stream));
            }
        });
    }
    thread::spawn(move || {
        for mut stream in accept.incoming().flatten() {
            // Only after the client: a reset that overtakes the end of connect() would fail it.
            drop(stream.read(&mut [0]));
        }
    });
    thread::spawn(move || {
        for stream in data.incoming().flatten() {
            // A connection ends with its client; why does not matter here.
            thread::spawn(move || drop(answer(stream)));
        }
    });
    let mut line = String::new();
    while std::io::stdin().lock().read_line(&mut line)? > 0 {}
    Ok(())
}

fn echo(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 256];
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "ended");
        stream.write_all(&buffer[..count])?;
    }
}

fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut service = [0];
    stream.read_exact(&mut service)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match service[0] {
            b'd' => {
                let mut left = read_length(&mut stream)?;
                while left > 0 {
                    let wanted = left.min(buffer.len());
                    let count = stream.read(&mut buffer[..wanted])?;
                    ensure!(count > 0, "ended early");
                    left -= count;
                }
                stream.write_all(&[1])?;
            }
            b's' => {
                let mut left = read_length(&mut stream)?;
                while left > 0 {
                    let count = left.min(buffer.len());
                    stream.write_all(&buffer[..count])?;
                    left -= count;
                }
            }
            _ => {
                let count = stream.read(&mut buffer)?;
                ensure!(count > 0, "ended");
                stream.write_all(&buffer[..count])?;
            }
        }
    }
}

fn read_length(stream: &mut TcpStream) -> Result<usize> {
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    Ok(usize::try_from(u64::from_le_bytes(length))?)
}
