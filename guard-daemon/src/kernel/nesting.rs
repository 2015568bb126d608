//! Which bulkheads lie around which, for the hooks. Here nothing is decided.

use std::collections::BTreeMap;

use guard_common::abi::nesting::{MAX_OUTER, Outers};
use guard_common::abi::policy::FLAG_NESTING;

use super::error::KernelError;
use super::load::Kernel;

impl Kernel {
    /// Makes the hooks know exactly this: for each bulkhead that lies inside others these, the innermost
    /// first, [`MAX_OUTER`] at most. The first that there ever is makes the hooks look whose a socket
    /// is, from then on.
    pub fn set_nesting(&mut self, wanted: &BTreeMap<u32, Vec<u32>>) -> Result<(), KernelError> {
        for (bulkhead, outer) in wanted {
            if outer.len() > MAX_OUTER {
                let (wanted, capacity) = (outer.len(), MAX_OUTER);
                return Err(KernelError::Full { what: "bulkheads around one", wanted, capacity });
            }
            let mut value = Outers::default();
            for (place, id) in value.ids.iter_mut().zip(outer) {
                *place = *id;
            }
            if self.nesting.get(bulkhead, 0).ok() != Some(value) {
                self.nesting
                    .insert(bulkhead, value, 0)
                    .map_err(KernelError::map("NESTING", "writing"))?;
            }
        }
        let known: Vec<u32> = self
            .nesting
            .keys()
            .collect::<Result<_, _>>()
            .map_err(KernelError::map("NESTING", "listing"))?;
        for gone in known.iter().filter(|id| !wanted.contains_key(id)) {
            self.nesting.remove(gone).map_err(KernelError::map("NESTING", "removing"))?;
        }
        if wanted.is_empty() { Ok(()) } else { self.raise(FLAG_NESTING) }
    }
}
