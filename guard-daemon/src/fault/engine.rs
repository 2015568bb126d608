//! Which engine makes a delay here: EDT where the egress device of every destination has `fq`,
//! else NFQUEUE, else none with the reason and the cure (docs/adr/0002).

use std::net::IpAddr;
use std::time::Duration;

use crate::net::{iptables, qdisc};

/// A delay engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Earliest departure times, held by `fq`.
    Edt,
    /// Held by a process of guardd's, which takes the packets from a netfilter queue.
    Nfqueue,
}

impl Engine {
    /// The word for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edt => "edt",
            Self::Nfqueue => "nfqueue",
        }
    }
}

/// What NFQUEUE needs, probed once at start: the probe makes and removes a rule.
#[derive(Clone, Debug)]
pub struct Engines {
    nfqueue: Result<(), String>,
}

/// Why no engine can delay packets to these destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineRefusal {
    /// Why not EDT.
    pub edt: String,
    /// Why not NFQUEUE.
    pub nfqueue: String,
}

impl std::fmt::Display for EngineRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EDT: {}; NFQUEUE: {}", self.edt, self.nfqueue)
    }
}

impl Engines {
    /// Probes this host. Blocking.
    pub fn probe() -> Self {
        Self { nfqueue: iptables::probe() }
    }

    /// Whether NFQUEUE works, or why not.
    pub fn nfqueue(&self) -> Result<(), &str> {
        self.nfqueue.as_ref().copied().map_err(String::as_str)
    }

    /// Chooses the engine for delays of up to `longest` to these destinations. An empty list means
    /// destinations that are not known beforehand, which EDT cannot promise to reach. Blocking.
    pub fn choose(
        &self,
        destinations: &[IpAddr],
        longest: Duration,
    ) -> Result<Engine, EngineRefusal> {
        let edt = if destinations.is_empty() {
            Err("the destinations are not known beforehand".to_owned())
        } else {
            qdisc::edt_possible(destinations, longest).map_err(|refusal| refusal.to_string())
        };
        match (edt, &self.nfqueue) {
            (Ok(()), _) => Ok(Engine::Edt),
            (Err(_), Ok(())) => Ok(Engine::Nfqueue),
            (Err(edt), Err(nfqueue)) => Err(EngineRefusal { edt, nfqueue: nfqueue.clone() }),
        }
    }
}
