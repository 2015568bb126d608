//! An agent in a process of its own: calls over new connections and sends datagrams, all the time,
//! and says of each what became of it. It must never wait for one call before it tries the next:
//! what a fault touches is only seen where something is tried.

use std::io::{BufRead as _, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use testbed::cgroup;
use testbed::process::Process;

use super::super::probe::{datagram, now_ns};
use super::super::server::Service;

/// Calls at the same time, and pause between two of one kind.
const CALLERS: usize = 4;
const CALL_PAUSE: Duration = Duration::from_millis(20);
const DATAGRAM_PAUSE: Duration = Duration::from_millis(4);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What became of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// A connection with one exchange.
    Call {
        /// When it began, ns of CLOCK_REALTIME.
        start_ns: u64,
        /// When it ended.
        end_ns: u64,
        /// Whether it had its answer.
        good: bool,
    },
    /// A datagram.
    Datagram {
        /// Its number.
        number: u64,
        /// When it was sent.
        sent_ns: u64,
        /// Whether the sending failed.
        refused: bool,
    },
}

/// Starts the process in a cgroup.
pub(super) fn start(
    cgroup: &std::path::Path,
    server: SocketAddr,
    sink: SocketAddr,
) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("call").arg(server.to_string()).arg(sink.to_string());
    let mut process = Process::spawn(&mut cgroup::wrap(cgroup, &command))?;
    process.next_line(Duration::from_secs(10))?;
    Ok(process)
}

/// What a caller has said so far.
pub(super) fn read(lines: &[String]) -> Vec<Tried> {
    // The last line may be cut short by its end.
    lines.iter().filter_map(|line| parse(line)).collect()
}

fn parse(line: &str) -> Option<Tried> {
    let mut words = line.split(' ');
    let kind = words.next()?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let (first, second, flag) = (number()?, number()?, number()? == 1);
    match kind {
        "c" => Some(Tried::Call { start_ns: first, end_ns: second, good: flag }),
        "d" => Some(Tried::Datagram { number: first, sent_ns: second, refused: flag }),
        _ => None,
    }
}

/// The process itself.
pub(crate) fn call(server: SocketAddr, sink: SocketAddr) -> Result<()> {
    for _ in 0..CALLERS {
        thread::spawn(move || -> Result<()> {
            loop {
                let start_ns = now_ns()?;
                let good = exchange(server).is_ok();
                println!("c {start_ns} {} {}", now_ns()?, u8::from(good));
                thread::sleep(CALL_PAUSE);
            }
        });
    }
    // Not connected: of those a fault may refuse each.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    setsockopt(&socket, sockopt::SndBufForce, &(4 << 20))?;
    socket.set_nonblocking(true)?;
    thread::spawn(move || -> Result<()> {
        for number in 0.. {
            let sent_ns = now_ns()?;
            let sent = socket.send_to(&datagram(number, sent_ns), sink);
            // Its buffer is full of what is held: nothing was tried.
            if !sent.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                println!("d {number} {sent_ns} {}", u8::from(sent.is_err()));
            }
            thread::sleep(DATAGRAM_PAUSE);
        }
        Ok(())
    });
    let mut line = String::new();
    while std::io::stdin().lock().read_line(&mut line)? > 0 {}
    Ok(())
}

fn exchange(server: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(server)?;
    // Closed with a reset: no TIME_WAIT, or hundreds of runs would use up all ports.
    setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(&[Service::Echo as u8, 1, 2, 3, 4])?;
    stream.read_exact(&mut [0; 4]).context("no answer")
}

#[cfg(test)]
mod tests {
    use super::{Tried, read};

    #[test]
    fn lines_are_read_and_half_ones_left_out() {
        let lines = ["c 5 9 1", "d 7 3 1", "d 8 "].map(str::to_owned);
        let call = Tried::Call { start_ns: 5, end_ns: 9, good: true };
        let datagram = Tried::Datagram { number: 7, sent_ns: 3, refused: true };
        assert_eq!(read(&lines), [call, datagram]);
    }
}
