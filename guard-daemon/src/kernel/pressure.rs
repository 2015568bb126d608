//! The switch that refuses new connections of a bulkhead, and what it has refused. Never pinned: it
//! must not outlive the daemon that has a reason for it.

use std::time::Duration;

use guard_common::abi::pressure::PressureSwitch;

use super::clock::boottime_ns;
use super::error::KernelError;
use super::load::Kernel;

/// How long the daemon's last word holds.
const PRESSURE_LEASE: Duration = Duration::from_secs(5);

impl Kernel {
    /// Refuses new connections of a bulkhead with this errno, until it is told otherwise or
    /// `PRESSURE_LEASE` is over; `None` lets them pass.
    pub fn set_pressure(&mut self, bulkhead: u32, errno: Option<u32>) -> Result<(), KernelError> {
        if self.pressure_refused(bulkhead).is_none() {
            self.pressure_refused
                .insert(bulkhead, 0, 0)
                .map_err(KernelError::map("PRESSURE_REFUSED", "writing"))?;
        }
        let until_ns = boottime_ns().saturating_add(PRESSURE_LEASE.as_nanos() as u64);
        let switch = match errno {
            Some(errno) => PressureSwitch { until_ns, errno, pad: 0 },
            None => PressureSwitch::default(),
        };
        self.pressure.insert(bulkhead, switch, 0).map_err(KernelError::map("PRESSURE", "writing"))
    }

    /// Connections refused so far; `None` if it was never asked to.
    pub fn pressure_refused(&self, bulkhead: u32) -> Option<u64> {
        self.pressure_refused.get(&bulkhead, 0).ok()
    }
}
