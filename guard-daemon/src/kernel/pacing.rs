//! The gate of paced calls, pinned as a file because iptables takes it so, and the map beside it in
//! which the engine process reads how long it holds what. Here nothing is decided.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aya::maps::{HashMap, Map, MapData};
use guard_common::abi::pacing::{FlowKey, PacedSocket};

use super::clock::boottime_ns;
use super::error::KernelError;
use super::load::Kernel;

pub(super) const GATE: &str = "guard_pace";
const FLOWS: &str = "PACE_FLOWS";

/// What [`Kernel::open_pacing`] has pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacingPins {
    /// For `iptables -m bpf --object-pinned`.
    pub gate: PathBuf,
    /// For [`FlowTimes::open`].
    pub flows: PathBuf,
}

impl Kernel {
    /// Pins gate and map below `bpffs`, if they are not there.
    pub fn open_pacing(&mut self, bpffs: &Path) -> Result<PacingPins, KernelError> {
        let pins = PacingPins { gate: bpffs.join(GATE), flows: bpffs.join(FLOWS) };
        let failed = |path: &Path, source: Error| KernelError::Io {
            what: "pinning the gate of paced calls",
            path: path.display().to_string(),
            source,
        };
        if !pins.flows.exists() {
            let map =
                self.ebpf.map(FLOWS).ok_or(KernelError::Missing { what: "map", name: FLOWS })?;
            map.pin(&pins.flows).map_err(|e| failed(&pins.flows, Error::other(e)))?;
        }
        if !pins.gate.exists() {
            let gate = self.ebpf.program_mut(GATE);
            let gate = gate.ok_or(KernelError::Missing { what: "program", name: GATE })?;
            gate.pin(&pins.gate).map_err(|e| failed(&pins.gate, Error::other(e)))?;
        }
        Ok(pins)
    }

    /// Removes what is pinned, if it is there.
    pub fn close_pacing(&mut self, bpffs: &Path) -> Result<(), KernelError> {
        for name in [GATE, FLOWS] {
            let path = bpffs.join(name);
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != ErrorKind::NotFound => {
                    let path = path.display().to_string();
                    return Err(KernelError::Io { what: "removing a pin", path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Which connections wait for their pace, as guardd reads it.
#[derive(Clone)]
pub struct PacedSockets(Arc<HashMap<MapData, u64, PacedSocket>>);

impl PacedSockets {
    pub(super) fn new(map: HashMap<MapData, u64, PacedSocket>) -> Self {
        Self(Arc::new(map))
    }

    /// Until when the call of a socket is held (boottime, ns); `None`: none of it is.
    pub fn held_until_ns(&self, cookie: u64) -> Option<u64> {
        let known = self.0.get(&cookie, 0).ok()?;
        (known.until_ns > boottime_ns()).then_some(known.until_ns)
    }
}

impl Kernel {
    /// Which connections wait for their pace.
    pub fn paced_sockets(&self) -> PacedSockets {
        self.paced.clone()
    }
}

/// Until when packets of connections are held, as the engine process reads it. Needs no capability,
/// only the right to open the file.
pub struct FlowTimes(HashMap<MapData, FlowKey, u64>);

impl std::fmt::Debug for FlowTimes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FlowTimes")
    }
}

impl FlowTimes {
    /// Opens the pinned map.
    pub fn open(path: &Path) -> Result<Self, KernelError> {
        let failed = |source: Error| KernelError::Io {
            what: "opening the times of paced calls",
            path: path.display().to_string(),
            source,
        };
        let data = MapData::from_pin(path).map_err(|e| failed(Error::other(e)))?;
        let map = Map::from_map_data(data).map_err(|e| failed(Error::other(e)))?;
        Ok(Self(map.try_into().map_err(|e: aya::maps::MapError| failed(Error::other(e)))?))
    }

    /// Until when (boottime, ns); `None`: nothing is said of this connection.
    pub fn until_ns(&self, flow: &FlowKey) -> Option<u64> {
        self.0.get(flow, 0).ok()
    }
}
