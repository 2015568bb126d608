//! The daemon's signs of life: the lease of faults, until when the kernel lets them act, and the
//! heartbeat, until when breakers refuse calls. Both are moved on by a healthy daemon only; a killed,
//! stopped or hung one lets them run out.

use std::time::Duration;

use aya::maps::{Array, MapData};

use super::clock::boottime_ns;
use super::error::KernelError;
use super::load::Kernel;

/// The lease; there is one per loaded object.
pub struct Lease {
    map: Array<MapData, u64>,
}

impl Kernel {
    /// The lease, at the first call.
    pub fn take_lease(&mut self) -> Option<Lease> {
        self.lease.take().map(|map| Lease { map })
    }
}

impl Kernel {
    /// Lets breakers act for `timeout` from now on; `None` = for ever.
    pub fn beat(&mut self, timeout: Option<Duration>) -> Result<(), KernelError> {
        let until = |time: Duration| boottime_ns().saturating_add(time.as_nanos() as u64);
        self.heartbeat
            .set(0, timeout.map_or(0, until), 0)
            .map_err(KernelError::map("HEARTBEAT", "renewing"))
    }
}

impl Lease {
    /// Lets faults act for `lease` from now on; until when that is (CLOCK_BOOTTIME, ns).
    pub fn renew(&mut self, lease: Duration) -> Result<u64, KernelError> {
        let until_ns = boottime_ns().saturating_add(lease.as_nanos() as u64);
        self.map.set(0, until_ns, 0).map_err(KernelError::map("LEASE", "renewing"))?;
        Ok(until_ns)
    }

    /// Ends the effect of all faults at once.
    pub fn end(&mut self) -> Result<(), KernelError> {
        self.map.set(0, 0_u64, 0).map_err(KernelError::map("LEASE", "ending"))
    }
}
