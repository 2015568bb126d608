//! What the gateway costs: calls through it against calls that go straight to the service.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testbed::guardd::GuarddConfig;
use testbed::server::{Behaviour, ServerProcess};
use testbed::stats::median;
use testbed::wait;

use super::Effort;
use super::paired::{Paired, Side};
use super::report::Row;
use super::sides::{NAME, Sides};

/// Calls per side and round.
const CALLS: usize = 50;
/// Bytes of a small answer, and of a large one.
const SMALL_BYTES: u64 = 1_024;
const LARGE_BYTES: u64 = 64 << 20;
const READY: Duration = Duration::from_secs(10);

pub(crate) fn run(effort: Effort) -> Result<Vec<Row>> {
    let any = "127.0.0.1:0".parse()?;
    let mut server = ServerProcess::start(&[any], &[], |command| command)?;
    let address = server.address()?;
    let config = GuarddConfig::new(format!(
        "[services.{NAME}]\nendpoints = [\"{address}\"]\ngateway = true\nprotocol = \"http\"\n\
         [bulkheads.{NAME}]\n"
    ));
    let sides = Sides::with(config)?;
    let usable = || sides.guardd()?.metric("guard_gateway_usable", &[]);
    wait::until("a gateway", READY, || usable().ok().flatten() == Some(1.0))?;
    server.set(&Behaviour::answer(200, SMALL_BYTES))?;
    let connect = || Ok(BufReader::new(TcpStream::connect(address)?));
    let (mut guarded, mut bare) = sides.both(false, connect)?;
    let kept = Paired::measure(effort.rounds(100), |side| {
        let stream = match side {
            Side::Guarded => &mut guarded,
            Side::Bare => &mut bare,
        };
        microseconds(|| call(stream).map(drop))
    })?;
    let fresh = Paired::measure(effort.rounds(100), |side| {
        sides.inside(side, || microseconds(|| call(&mut connect()?).map(drop)))
    })?;
    server.set(&Behaviour::answer(200, LARGE_BYTES))?;
    let large = Paired::measure(effort.rounds(20), |side| {
        sides.inside(side, || megabytes_per_second(address))
    })?;
    sides.finish()?;
    Ok(vec![
        Row::ratio("a call on an open connection, 1 KiB", "us", &kept),
        Row::ratio("connect and call, 1 KiB", "us", &fresh),
        Row::ratio("an answer of 64 MiB", "MB/s", &large),
    ])
}

/// Median of many.
fn microseconds(mut one: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let start = Instant::now();
        one()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(&times).unwrap_or(f64::NAN))
}

fn megabytes_per_second(address: SocketAddr) -> Result<f64> {
    let mut stream = BufReader::with_capacity(1 << 18, TcpStream::connect(address)?);
    let start = Instant::now();
    let bytes = call(&mut stream)?;
    Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
}

/// One call; the bytes of its body.
fn call(stream: &mut BufReader<TcpStream>) -> Result<u64> {
    stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let (mut length, mut line) = (None, String::new());
    loop {
        line.clear();
        ensure!(stream.read_line(&mut line)? != 0, "the answer ends in its head");
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse()?);
        }
    }
    let length: u64 = length.context("an answer without a length")?;
    let read = std::io::copy(&mut stream.by_ref().take(length), &mut std::io::sink())?;
    ensure!(read == length, "the answer ends after {read} of {length} bytes");
    Ok(read)
}
