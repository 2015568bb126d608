//! The arguments of `guardctl fault`.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};

use super::examples;
use crate::control::api::FaultRequest;
use crate::ctl::quantity::{duration, errno, percent, pulse};
use crate::net::delay::Distribution;

/// The commands below `fault`.
#[derive(Debug, Subcommand)]
pub enum FaultCommand {
    /// Start one fault: latency, loss or refusals
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
#[command(group(ArgGroup::new("effect").required(true).args(["latency", "loss", "refuse", "blackhole"])))]
pub struct InjectArgs {
    /// The bulkhead to disturb; no other is touched
    #[arg(long, value_name = "B")]
    pub bulkhead: String,
    /// The service to disturb; all of the bulkhead only with --unsafe-all
    #[arg(long, value_name = "S", required_unless_present = "unsafe_all")]
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
            seed: self.seed,
            unsafe_all: self.unsafe_all,
            drill: None,
        }
    }
}
