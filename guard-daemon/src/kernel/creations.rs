//! Reads how often bulkheads wanted sockets that they may not make.

use std::collections::BTreeMap;

use guard_common::abi::creation::{CreationCounts, CreationKey};

use super::error::KernelError;
use super::load::Kernel;

impl Kernel {
    /// The counts of every bulkhead and kind that there ever was a refusal for.
    pub fn creations(&self) -> Result<BTreeMap<CreationKey, CreationCounts>, KernelError> {
        self.creations
            .iter()
            .collect::<Result<_, _>>()
            .map_err(KernelError::map("CREATIONS", "reading"))
    }
}
