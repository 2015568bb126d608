//! The arguments of `guardctl breaker`.

use std::str::FromStr;

use clap::Subcommand;

use super::examples;
use crate::plan::BreakerMode;

/// The commands below `breaker`.
#[derive(Debug, Subcommand)]
pub enum BreakerCommand {
    /// Every breaker: its state, and why
    #[command(after_help = examples::BREAKER_LIST)]
    List,
    /// Open a breaker now
    #[command(after_help = examples::BREAKER_TRIP)]
    Trip {
        /// Which one
        #[arg(value_name = "BULKHEAD/SERVICE")]
        name: BreakerName,
    },
    /// Close a breaker now and forget its failures
    #[command(after_help = examples::BREAKER_RESET)]
    Reset {
        /// Which one
        #[arg(value_name = "BULKHEAD/SERVICE")]
        name: BreakerName,
    },
    /// Change how a breaker acts, until guardd is started again
    #[command(after_help = examples::BREAKER_MODE)]
    Mode {
        /// Which one
        #[arg(value_name = "BULKHEAD/SERVICE")]
        name: BreakerName,
        /// How it acts from now on
        #[arg(value_name = "MODE", value_parser = mode_names())]
        mode: String,
    },
}

fn mode_names() -> Vec<&'static str> {
    BreakerMode::ALL.iter().map(|mode| mode.name()).collect()
}

/// `BULKHEAD/SERVICE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerName {
    /// Bulkhead.
    pub bulkhead: String,
    /// Service.
    pub service: String,
}

impl FromStr for BreakerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((bulkhead, service))
                if !bulkhead.is_empty() && !service.is_empty() && !service.contains('/') =>
            {
                Ok(Self { bulkhead: bulkhead.to_owned(), service: service.to_owned() })
            }
            _ => Err("write bulkhead and service, as in research/github".to_owned()),
        }
    }
}
