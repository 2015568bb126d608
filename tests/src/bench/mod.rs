//! The benchmarks: one file each, A (in a bulkhead) and B (bare) always interleaved in one run.
//! None may need anything of the host but loopback, or leave anything on it.

use std::path::Path;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

mod breaker;
mod bulk;
mod checkpoint;
mod connect;
mod cpu;
mod delay;
mod gateway;
mod healing;
mod idle;
mod kill;
mod kills;
mod limits;
mod many;
mod neighbours;
mod netem;
mod netns;
mod packet;
mod packets;
mod paired;
mod pingpong;
mod probe;
mod rate;
mod refuse;
mod reload;
mod report;
mod roundtrip;
mod scale;
mod server;
mod sides;

use report::{Report, Row};

/// How long a benchmark may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    quick: bool,
    /// Runs of `kills`, and the seed of their moments.
    kills: Option<usize>,
    seed: u64,
}

impl Effort {
    /// `full` rounds, or a tenth of them (at least 6, so that there is an interval).
    fn rounds(self, full: usize) -> usize {
        if self.quick { (full / 10).max(6) } else { full }
    }

    /// One of two values.
    fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

type Benchmark = fn(Effort) -> Result<Vec<Row>>;

/// All benchmarks, in the order in which they run.
const ALL: [(&str, Benchmark, &str); 20] = [
    ("roundtrip", roundtrip::run, "64-byte exchanges on one connection"),
    ("connect", connect::run, "connect and close, per second"),
    ("bulk", bulk::run, "bytes per second on one connection"),
    ("refuse", refuse::run, "a refusal by guard against one by a closed port"),
    ("breaker", breaker::run, "refusals, races and 100 000 breakers"),
    ("packet", packet::run, "time in the kernel programs against an empty one"),
    ("delay", delay::run, "accuracy of latency faults"),
    ("packets", packets::run, "latency and loss of 10 000 packets each, packet by packet"),
    ("rate", rate::run, "bits per second and order of packets under 100 ms by NFQUEUE"),
    ("kill", kill::run, "time from SIGKILL of guardd until traffic is normal"),
    (KILLS, kills::run, "drills killed at random moments, four ways (200 runs, 5 minutes)"),
    ("limits", limits::run, "the count of connections after a million opens and closes"),
    ("neighbours", neighbours::run, "calls beside a flood, a hog and a bomb in another bulkhead"),
    ("gateway", gateway::run, "calls through the gateway against straight ones"),
    ("checkpoint", checkpoint::run, "how long an agent stands still for a checkpoint of 100 MiB"),
    ("idle", idle::run, "processor and memory of an idle guardd, 100 bulkheads x 100 services"),
    ("reload", reload::run, "time to reload 100 bulkheads x 100 services"),
    ("scale", scale::run, "1000 bulkheads made, reloaded, asked for"),
    (HEALING, healing::run, "eight failures healed, or not, with guard and without (8 minutes)"),
    (NETEM, netem::run, "latency and loss against tc netem, in a virtual machine only"),
];
/// These run only when they are named.
const KILLS: &str = "kills";
const HEALING: &str = "healing";
const NETEM: &str = "netem";

/// Measure guard against bare traffic. Exit code 1: a target was missed.
#[derive(Parser)]
#[command(name = "guard-bench", after_help = after_help())]
struct Cli {
    #[command(subcommand)]
    command: Option<Hidden>,
    /// Benchmarks to run; all without
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// A tenth of the rounds: to see that it works, not for numbers
    #[arg(long)]
    quick: bool,
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
    /// Runs of the benchmark `kills`: 200, or 20 with --quick
    #[arg(long, value_name = "N")]
    kills: Option<usize>,
    /// What its random moments are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Subcommand)]
enum Hidden {
    /// The peer of the measured connections; ends when its standard input is closed
    #[command(hide = true)]
    Serve {
        /// Processor to stay on
        #[arg(long)]
        cpu: Option<usize>,
    },
    /// An agent that calls all the time; ends when its standard input is closed
    #[command(hide = true)]
    Call {
        /// Of the peer
        server: std::net::SocketAddr,
        /// Where datagrams go
        sink: std::net::SocketAddr,
    },
    /// A program of the benchmark `healing`
    #[command(hide = true)]
    Work {
        /// Which
        #[command(subcommand)]
        work: healing::Work,
    },
}

fn after_help() -> String {
    let lines = ALL.map(|(name, _, what)| format!("  {name:<10} {what}"));
    format!("Benchmarks:\n{}", lines.join("\n"))
}

/// Runs what the command line asks for; false if a target was missed.
pub(crate) fn main() -> Result<bool> {
    let cli = Cli::parse();
    match cli.command {
        Some(Hidden::Serve { cpu }) => return server::serve(cpu).map(|()| true),
        Some(Hidden::Call { server, sink }) => return kills::call(server, sink).map(|()| true),
        Some(Hidden::Work { work }) => return healing::work(&work).map(|()| true),
        None => {}
    }
    let known = |name: &String| ALL.iter().any(|(known, ..)| known == name);
    if let Some(unknown) = cli.names.iter().find(|name| !known(name)) {
        let names = ALL.map(|(name, ..)| name).join(", ");
        anyhow::bail!("no benchmark is called `{unknown}`; there are: {names}");
    }
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the benchmarks load programs into the kernel: run them as root"
    );
    let effort = Effort { quick: cli.quick, kills: cli.kills, seed: cli.seed };
    let mut report = Report::begin(cli.quick)?;
    for (name, run, what) in ALL {
        let wanted = cli.names.iter().any(|wanted| wanted == name);
        if !wanted && ([KILLS, HEALING, NETEM].contains(&name) || !cli.names.is_empty()) {
            continue;
        }
        eprintln!("{name}: {what}");
        report.add(name, run(effort)?);
    }
    report.finish()?;
    if cli.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", report.table());
    }
    Ok(report.met())
}

/// First number of a file of `/proc`.
fn first_number(path: impl AsRef<Path>) -> Result<f64> {
    let text = std::fs::read_to_string(path.as_ref())?;
    let word = text.split_whitespace().next().unwrap_or_default();
    Ok(word.parse()?)
}
