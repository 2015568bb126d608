//! A service with a quota: whoever calls more often than that gets 429, and each call counts, also
//! one that was refused. An agent that does not slow down never gets out of it.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use testbed::agent::AgentProcess;
use testbed::cgroup;

use super::follow::{healed, now_ns};
use super::lane::{Lane, NAME};
use crate::bench::paired::Side;

const WINDOW: Duration = Duration::from_secs(1);
/// Calls that the service takes in that time.
const QUOTA: usize = 10;
/// What the agent may do with guard, calls a second: below the quota.
const PACE: usize = 8;
/// An agent in a loop: 50 calls a second.
const CALL_EVERY: &str = "20ms";
const LONG: Duration = Duration::from_secs(30);

pub(super) fn run(side: Side) -> Result<Option<Duration>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || serve(&listener));
    let lane = Lane::start(side, |_| {
        format!(
            "[services.api]\nendpoints = [\"{address}\"]\nclass = \"llm\"\n\
             [bulkheads.{NAME}]\nmax_calls_per_second = {PACE}\n"
        )
    })?;
    let target = format!("http://{address}/");
    let began = now_ns();
    let agent = AgentProcess::start(
        &["--target", &target, "--interval", CALL_EVERY, "--timeout", "60s", "--keep-alive"],
        |command| cgroup::wrap(lane.cgroup(), &command),
    )?;
    // The quota is met from the first second on: what heals is seen after it.
    let settled = began + u64::try_from(2 * WINDOW.as_nanos()).unwrap_or(u64::MAX);
    thread::sleep(2 * WINDOW);
    let took = healed(&agent, settled);
    drop(agent);
    lane.finish()?;
    Ok(took)
}

/// Until the process ends.
fn serve(listener: &TcpListener) {
    let seen = Arc::new(Mutex::new(VecDeque::new()));
    for stream in listener.incoming().flatten() {
        let seen = Arc::clone(&seen);
        thread::spawn(move || {
            if let Err(error) = answer(&stream, &seen) {
                // Connections end when the agent does.
                drop(error);
            }
        });
    }
}

fn answer(stream: &TcpStream, seen: &Mutex<VecDeque<Instant>>) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LONG))?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        if line.trim_end().is_empty() {
            let status =
                if is_within(seen) { "200 OK" } else { "429 Too Many Requests\r\nRetry-After: 1" };
            let text = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
            let mut stream = stream;
            stream.write_all(text.as_bytes())?;
        }
        line.clear();
    }
    Ok(())
}

/// Counts a call; whether the quota has room for it.
fn is_within(seen: &Mutex<VecDeque<Instant>>) -> bool {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    seen.push_back(now);
    seen.retain(|at| now.duration_since(*at) < WINDOW);
    seen.len() <= QUOTA
}
