//! `testbed-agent`: the small agent as a process of its own, to be put into a bulkhead.

use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use testbed::agent::{Agent, CallOptions, Plan, Sink, Step, Target};
use testbed::span;

/// Calls its targets and prints one JSON line per call and one at the end (also on SIGTERM).
/// Loopback only, and 198.51.100.0/24 inside namespaces.
#[derive(Parser)]
struct Options {
    /// `http://127.0.0.1:8080/path`, `tcp://…` (echo), `udp://…` (echo), `connect://…`. May be
    /// repeated: called in turn.
    #[arg(long, required = true)]
    target: Vec<Target>,
    /// Keep the connection for the next call.
    #[arg(long)]
    keep_alive: bool,
    /// Workers, each with its own connection.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    concurrency: u32,
    /// From the start of one call to the start of the worker's next.
    #[arg(long, default_value = "0ms", value_parser = span::parse)]
    interval: Duration,
    /// Stop after so many calls.
    #[arg(long)]
    count: Option<u64>,
    /// Start no call after so long.
    #[arg(long, value_parser = span::parse)]
    duration: Option<Duration>,
    /// Patience with connect(); the kernel's own without.
    #[arg(long, value_parser = span::parse)]
    connect_timeout: Option<Duration>,
    /// Patience with an answer; endless without.
    #[arg(long, value_parser = span::parse)]
    timeout: Option<Duration>,
    /// Bytes to send: makes HTTP calls POSTs.
    #[arg(long, default_value_t = 0)]
    payload_bytes: usize,
    /// Only the line at the end.
    #[arg(long)]
    quiet: bool,
    /// Take steps from standard input: `call [TARGET]`, `close`, `stop`; its end is a stop.
    #[arg(long, conflicts_with_all = ["interval", "duration"])]
    step: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    // Before any thread exists, so that all of them leave these signals to `wait`.
    let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    ends.thread_block()?;
    let quiet = options.quiet;
    let sink: Sink = Arc::new(move |record| {
        let line = serde_json::to_string(record).unwrap_or_default();
        // Nobody reads any more: the exit code and the sums still count.
        if !quiet && writeln!(stdout().lock(), "{line}").is_err() {
            std::process::exit(1);
        }
    });
    let plan = Plan {
        targets: options.target,
        options: CallOptions {
            connect_timeout: options.connect_timeout.filter(|limit| !limit.is_zero()),
            timeout: options.timeout.filter(|limit| !limit.is_zero()),
            payload_bytes: options.payload_bytes,
            keep_alive: options.keep_alive,
        },
        concurrency: options.concurrency,
        interval: options.interval,
        count: options.count,
        duration: options.duration,
    };
    let (steps, queue) = channel();
    let agent = Agent::start(plan, options.step.then_some(queue), sink);
    let stop = agent.stopper();
    thread::spawn(move || {
        if let Err(error) = ends.wait() {
            eprintln!("testbed-agent: cannot wait for signals: {error}");
        }
        stop();
    });
    if options.step {
        thread::spawn(move || {
            if let Err(error) = read_steps(&steps) {
                eprintln!("testbed-agent: {error:#}");
            }
        });
    }
    let summary = agent.wait(Duration::from_millis(500));
    writeln!(stdout().lock(), "{}", serde_json::to_string(&summary)?)?;
    // Calls that still hang must not keep the process.
    std::process::exit(0);
}

/// Passes steps on until `stop`; dropping the sender ends the workers.
fn read_steps(steps: &Sender<Step>) -> Result<()> {
    for line in stdin().lock().lines() {
        let line = line?;
        let (verb, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match verb {
            "call" if rest.is_empty() => steps.send(Step::Call(None))?,
            "call" => steps.send(Step::Call(Some(rest.parse()?)))?,
            "close" => steps.send(Step::Close)?,
            "stop" => return Ok(()),
            _ => ensure!(verb.is_empty(), "unknown step `{verb}`; known: call, close, stop"),
        }
    }
    Ok(())
}
