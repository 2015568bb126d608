//! Interleaved measurement: one number for each side per round, sides alternating in order, so
//! that a drift of the machine meets both. Nothing is assumed of the distributions.

use anyhow::Result;
use testbed::stats::median;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// In a bulkhead.
    Guarded,
    /// In a cgroup that guard knows nothing of.
    Bare,
}

/// A median with an interval of 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Estimate {
    /// The median.
    pub(crate) median: f64,
    /// Lower end of the interval.
    pub(crate) low: f64,
    /// Upper end.
    pub(crate) high: f64,
}

impl Estimate {
    /// The median and its interval by order statistics (exact whatever the distribution; with
    /// fewer than 6 samples the whole range, which is less than 95 %). NaN without samples.
    pub(crate) fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let reach = 0.98 * n.sqrt();
        // Ranks from 1: below `low_rank` lies the median in 2.5 % of all cases.
        let low_rank = (n / 2.0 - reach).floor().max(1.0) as usize;
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        Self {
            median: median(&sorted).unwrap_or(f64::NAN),
            low: at(low_rank - 1),
            high: at(sorted.len().saturating_sub(low_rank)),
        }
    }
}

/// One number per side and round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paired {
    /// In the bulkhead.
    pub(crate) guarded: Vec<f64>,
    /// Outside.
    pub(crate) bare: Vec<f64>,
}

impl Paired {
    /// Measures `rounds` rounds, after one that does not count.
    pub(crate) fn measure(rounds: usize, mut one: impl FnMut(Side) -> Result<f64>) -> Result<Self> {
        let mut all = Self::default();
        one(Side::Guarded)?;
        one(Side::Bare)?;
        all.extend(rounds, one)?;
        Ok(all)
    }

    /// Adds `rounds` rounds.
    pub(crate) fn extend(
        &mut self,
        rounds: usize,
        mut one: impl FnMut(Side) -> Result<f64>,
    ) -> Result<()> {
        for _ in 0..rounds {
            // A B, B A, A B, …
            if self.guarded.len().is_multiple_of(2) {
                self.guarded.push(one(Side::Guarded)?);
                self.bare.push(one(Side::Bare)?);
            } else {
                self.bare.push(one(Side::Bare)?);
                self.guarded.push(one(Side::Guarded)?);
            }
        }
        Ok(())
    }

    /// Guarded divided by bare, round by round.
    pub(crate) fn ratio(&self) -> Estimate {
        self.each(|guarded, bare| guarded / bare)
    }

    /// Guarded less bare, round by round.
    pub(crate) fn difference(&self) -> Estimate {
        self.each(|guarded, bare| guarded - bare)
    }

    fn each(&self, of: fn(f64, f64) -> f64) -> Estimate {
        let both = self.guarded.iter().zip(&self.bare);
        Estimate::of(&both.map(|(guarded, bare)| of(*guarded, *bare)).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::{Estimate, Paired, Side};

    #[test]
    fn the_interval_holds_the_median_in_95_of_100_cases() {
        // Sign test: of 100 samples, ranks 40 and 61 (Conover, table A3).
        let samples: Vec<f64> = (1..=100).map(f64::from).collect();
        let estimate = Estimate::of(&samples);
        assert_eq!((estimate.low, estimate.median, estimate.high), (40.0, 50.5, 61.0));
        let few = Estimate::of(&[3.0, 1.0, 2.0]);
        assert_eq!((few.low, few.median, few.high), (1.0, 2.0, 3.0));
        assert!(Estimate::of(&[]).median.is_nan());
    }

    #[test]
    fn sides_alternate_and_ratios_are_of_pairs() {
        let mut order = Vec::new();
        let mut drift = 1.0;
        let paired = Paired::measure(4, |side| {
            order.push(side);
            drift *= 1.001;
            Ok(if side == Side::Guarded { 2.0 * drift } else { drift })
        });
        let paired = paired.unwrap();
        assert_eq!(order[2..6], [Side::Guarded, Side::Bare, Side::Bare, Side::Guarded]);
        assert_eq!((paired.guarded.len(), paired.bare.len()), (4, 4));
        assert!((paired.ratio().median - 2.0).abs() < 0.003);
        assert!(paired.difference().median > 0.9);
    }
}
