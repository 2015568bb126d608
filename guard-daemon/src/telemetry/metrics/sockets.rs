//! Sockets that guard refuses, and those that escape it.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Sample, family};

/// Sockets of one kind that a bulkhead may not make.
#[derive(Clone, Debug)]
pub struct CreationSample {
    /// Bulkhead.
    pub bulkhead: String,
    /// `raw`, `sctp`, …
    pub kind: &'static str,
    /// Refused.
    pub refused: u64,
    /// Made all the same, because of monitor mode.
    pub would_have: u64,
}

/// Sockets that processes of a bulkhead hold and guard does not see, for one reason.
#[derive(Clone, Debug)]
pub struct UnguardedSample {
    /// Bulkhead.
    pub bulkhead: String,
    /// Why.
    pub reason: &'static str,
    /// How many, at the last look.
    pub count: u64,
}

impl Sample {
    pub(super) fn encode_sockets(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let refused = self.creations.iter().map(|sample| {
            let labels = [("bulkhead", sample.bulkhead.clone()), ("kind", sample.kind.to_owned())];
            (labels, sample.refused as f64)
        });
        family("guard_sockets_refused", "Sockets of kinds that the bulkhead may not make")
            .counters(encoder, refused)?;
        let unguarded = self.unguarded.iter().map(|sample| {
            let labels =
                [("bulkhead", sample.bulkhead.clone()), ("reason", sample.reason.to_owned())];
            (labels, sample.count as f64)
        });
        family(
            "guard_unguarded_sockets",
            "Sockets that processes of the bulkhead hold and its hooks do not see, at the last look",
        )
        .gauges(encoder, unguarded)
    }
}
