//! Socket options that the hooks set, by service.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::abi::hygiene::HygienePolicy;

use super::error::KernelError;
use super::load::Kernel;

impl Kernel {
    /// Makes the options of the services equal to `wanted`. Connections that stand keep theirs.
    pub fn set_hygiene(
        &mut self,
        wanted: &BTreeMap<u32, HygienePolicy>,
    ) -> Result<(), KernelError> {
        let old: BTreeSet<u32> = self
            .hygiene
            .keys()
            .collect::<Result<_, _>>()
            .map_err(KernelError::map("HYGIENE", "listing"))?;
        for (service, policy) in wanted {
            self.hygiene
                .insert(service, policy, 0)
                .map_err(KernelError::map("HYGIENE", "writing"))?;
        }
        for service in old.iter().filter(|service| !wanted.contains_key(service)) {
            self.hygiene.remove(service).map_err(KernelError::map("HYGIENE", "removing"))?;
        }
        Ok(())
    }
}
