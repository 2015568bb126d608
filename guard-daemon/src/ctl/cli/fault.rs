//! The arguments of `guardctl fault`.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};

use super::examples;
use crate::control::api::FaultRequest;
use crate::ctl::quantity::{duration, errno, percent, pulse, rate};
use crate::net::delay::Distribution;

/// The commands below `fault`.
#[derive(Debug, Subcommand)]
pub enum FaultCommand {
    /// Start one fault: latency, loss, refusals, resets, a thin link, failing name queries
    #[command(after_help = examples::FAULT_INJECT)]
    Inject(Box<InjectArgs>),
    /// Faults now, scheduled, and lately ended
    #[command(after_help = examples::FAULT_LIST)]
    List,
    /// End a fault, or all
    #[command(after_help = examples::FAULT_CLEAR, group(ArgGroup::new("which").required(true).args(["id", "all"])))]
    Clear {
        /// Id, as `fault inject` and `fault list` show it
        id: Option<u64>,
        /// Every fault
        #[arg(long)]
        all: bool,
    },
}

/// Arguments of `fault inject`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("effect").required(true).args(["latency", "loss", "refuse", "blackhole", "reset", "bandwidth", "dns"])))]
pub struct InjectArgs {
    /// The bulkhead to disturb; no other is touched
    #[arg(long, value_name = "B")]
    pub bulkhead: String,
    /// The service to disturb; all of the bulkhead only with --unsafe-all
    #[arg(long, value_name = "S", required_unless_present_any = ["unsafe_all", "dns"])]
    pub service: Option<String>,
    /// How long, from its start; it ends by itself
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub duration: Duration,
    /// Start later by so much
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub after: Option<Duration>,
    /// Delay each packet that the bulkhead sends to the service
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Effect (exactly one)")]
    pub latency: Option<Duration>,
    /// Vary the latency by so much, both ways
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "latency", conflicts_with_all = ["loss", "refuse"], help_heading = "Effect (exactly one)")]
    pub jitter: Option<Duration>,
    /// How the jitter is spread: evenly, or as the standard deviation of a normal or long-tailed
    /// (pareto) distribution [default: uniform]
    #[arg(long, value_name = "NAME", value_parser = Distribution::ALL.map(Distribution::name), requires = "jitter", help_heading = "Effect (exactly one)")]
    pub distribution: Option<String>,
    /// Drop this share of packets, both ways
    #[arg(long, value_name = "PERCENT", value_parser = percent, help_heading = "Effect (exactly one)")]
    pub loss: Option<f64>,
    /// Drop them in bursts of so many packets on average
    #[arg(long, value_name = "PACKETS", requires = "loss", conflicts_with_all = ["latency", "refuse"], help_heading = "Effect (exactly one)")]
    pub burst: Option<f64>,
    /// Refuse this share of connects
    #[arg(long, value_name = "PERCENT", value_parser = percent, help_heading = "Effect (exactly one)")]
    pub refuse: Option<f64>,
    /// The error of refused connects [default: ECONNREFUSED]
    #[arg(long, value_name = "NAME", value_parser = errno, requires = "refuse", conflicts_with_all = ["latency", "loss"], help_heading = "Effect (exactly one)")]
    pub errno: Option<String>,
    /// Drop every packet, both ways: as a cable that is cut
    #[arg(long, help_heading = "Effect (exactly one)")]
    pub blackhole: bool,
    /// Which packets the latency holds: each, those of the connect, or those with payload
    /// [default: packet]
    #[arg(long, value_name = "WHAT", value_parser = ["packet", "connect", "first_byte"], requires = "latency", help_heading = "Effect (exactly one)")]
    pub per: Option<String>,
    /// Answer this share of the requests on open connections with a TCP reset
    #[arg(long, value_name = "PERCENT", value_parser = percent, help_heading = "Effect (exactly one)")]
    pub reset: Option<f64>,
    /// A thin link: so many bits per second for all connections together, each way (1Mbit)
    #[arg(long, value_name = "RATE", value_parser = rate, help_heading = "Effect (exactly one)")]
    pub bandwidth: Option<u64>,
    /// Let name queries (port 53) fail; needs no service
    #[arg(long, value_name = "HOW", value_parser = ["no_answer", "refused"], help_heading = "Effect (exactly one)")]
    pub dns: Option<String>,
    /// Which way, seen from the agent; of loss, blackhole and bandwidth [default: both]
    #[arg(long, value_name = "WAY", value_parser = ["both", "egress", "ingress"], help_heading = "Only a part")]
    pub direction: Option<String>,
    /// Only connections that are opened while it acts [default: all]
    #[arg(long, value_name = "WHICH", value_parser = ["all", "new"], help_heading = "Only a part")]
    pub connections: Option<String>,
    /// Only this share of what --share-of names
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "share_of", help_heading = "Only a part")]
    pub share: Option<f64>,
    /// Of what the share is
    #[arg(long, value_name = "WHAT", value_parser = ["calls", "connections", "destinations"], requires = "share", help_heading = "Only a part")]
    pub share_of: Option<String>,
    /// It comes and goes: acts for ON, rests for OFF, and so on (5s/10s)
    #[arg(long, value_name = "ON/OFF", value_parser = pulse)]
    pub pulse: Option<(Duration, Duration)>,
    /// Seed of the random decisions, to replay a fault
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Every service of the bulkhead is meant
    #[arg(long, conflicts_with = "service")]
    pub unsafe_all: bool,
    /// Stay until it has ended (Ctrl-C ends it) and print what it did;
    /// exit 1 if it was ended early, 5 if it touched no traffic
    #[arg(long)]
    pub wait: bool,
}

impl InjectArgs {
    /// What guardd is asked for.
    pub fn request(&self) -> FaultRequest {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        FaultRequest {
            bulkhead: self.bulkhead.clone(),
            service: self.service.clone(),
            duration_seconds: self.duration.as_secs_f64(),
            start_after_seconds: self.after.unwrap_or_default().as_secs_f64(),
            latency_seconds: seconds(self.latency),
            jitter_seconds: seconds(self.jitter),
            distribution: self.distribution.clone(),
            loss_percent: self.loss.or_else(|| self.blackhole.then_some(100.0)),
            loss_burst: self.burst,
            refuse_percent: self.refuse,
            errno: self.errno.clone(),
            pulse_on_seconds: self.pulse.map(|(on, _)| on.as_secs_f64()),
            pulse_off_seconds: self.pulse.map(|(_, off)| off.as_secs_f64()),
            latency_per: self.per.clone(),
            reset_percent: self.reset,
            bandwidth_bits_per_second: self.bandwidth,
            dns: self.dns.clone(),
            direction: self.direction.clone(),
            connections: self.connections.clone(),
            share_of: self.share_of.clone(),
            share_percent: self.share,
            seed: self.seed,
            unsafe_all: self.unsafe_all,
            drill: None,
        }
    }
}
