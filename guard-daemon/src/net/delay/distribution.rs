//! How the delay of a fault varies: the distributions by name, and the tables that both delay
//! engines draw from. Nothing here touches the host.

use std::time::Duration;

use guard_common::abi::fault::{
    DISTRIBUTION_NORMAL, DISTRIBUTION_PARETO, DISTRIBUTION_UNIFORM, JITTER_STEPS, JitterTable,
};
use guard_common::logic::jitter::ONE;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, Normal};

/// Shape of the long-tailed distribution: the smallest whole one whose variance is finite.
const PARETO_SHAPE: f64 = 3.0;

/// How a delay varies around its mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Evenly, up to the jitter to both sides.
    #[default]
    Uniform,
    /// In a bell's shape; the jitter is the standard deviation.
    Normal,
    /// With a long tail to the slow side; the jitter is the standard deviation.
    Pareto,
}

impl Distribution {
    /// All, in the order of their ids in the kernel.
    pub const ALL: [Self; 3] = [Self::Uniform, Self::Normal, Self::Pareto];

    /// By name; `None` is unknown.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// `uniform`, `normal`, `pareto`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Normal => "normal",
            Self::Pareto => "pareto",
        }
    }

    /// `DISTRIBUTION_*` of the kernel.
    pub const fn id(self) -> u32 {
        match self {
            Self::Uniform => DISTRIBUTION_UNIFORM,
            Self::Normal => DISTRIBUTION_NORMAL,
            Self::Pareto => DISTRIBUTION_PARETO,
        }
    }

    /// The longest delay that it gives.
    pub fn longest(self, delay: Duration, jitter: Duration) -> Duration {
        let last = self.table().quantiles[JITTER_STEPS];
        delay + jitter.mul_f64(f64::from(last) / f64::from(ONE))
    }

    /// Its quantiles. The ends, which may be infinite, are those of half a step.
    pub fn table(self) -> JitterTable {
        let mut table = JitterTable::default();
        let steps = JITTER_STEPS as f64;
        for (step, quantile) in table.quantiles.iter_mut().enumerate() {
            let share = step as f64 / steps;
            let inside = share.clamp(0.5 / steps, 1.0 - 0.5 / steps);
            let value = match self {
                Self::Uniform => 2.0 * share - 1.0,
                Self::Normal => Normal::standard().inverse_cdf(inside),
                Self::Pareto => pareto(inside),
            };
            *quantile = (value * f64::from(ONE)).round() as i32;
        }
        table
    }
}

/// Quantile of the Pareto distribution, moved and stretched to mean 0 and standard deviation 1.
fn pareto(share: f64) -> f64 {
    let a = PARETO_SHAPE;
    let (mean, variance) = (a / (a - 1.0), a / ((a - 1.0).powi(2) * (a - 2.0)));
    ((1.0 - share).powf(-1.0 / a) - mean) / variance.sqrt()
}

#[cfg(test)]
mod tests {
    use guard_common::logic::{jitter, random};

    use super::*;

    /// Mean and standard deviation of 200,000 delays of 10 s with a jitter of 1 s, in s.
    fn drawn(distribution: Distribution) -> (f64, f64, Vec<f64>) {
        let table = distribution.table();
        let mut all: Vec<f64> = (0..200_000)
            .map(|n| {
                let draw = random::draw(5, n) as u32;
                jitter::delay_ns(&table, 10_000_000_000, 1_000_000_000, draw) as f64 / 1e9
            })
            .collect();
        all.sort_by(f64::total_cmp);
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let variance = all.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / all.len() as f64;
        (mean, variance.sqrt(), all)
    }

    #[test]
    fn delays_have_the_mean_and_spread_that_were_asked_for() {
        // (distribution, standard deviation, its tolerance, some quantiles)
        let cases = [
            (Distribution::Uniform, 1.0 / 3_f64.sqrt(), 0.005, [(0.25, 9.5), (0.75, 10.5)]),
            (Distribution::Normal, 1.0, 0.01, [(0.158_655, 9.0), (0.977_25, 12.0)]),
            // Its far tail, beyond the table, is cut.
            (Distribution::Pareto, 1.0, 0.12, [(0.5, 9.723), (0.99, 13.63)]),
        ];
        for (distribution, spread, tolerance, quantiles) in cases {
            let (mean, got, all) = drawn(distribution);
            assert!((mean - 10.0).abs() < 0.02, "{distribution:?}: mean {mean}");
            assert!((got - spread).abs() < tolerance, "{distribution:?}: spread {got}");
            for (share, expected) in quantiles {
                let at = all[(share * all.len() as f64) as usize];
                assert!((at - expected).abs() < 0.05, "{distribution:?}: {share} at {at}");
            }
        }
    }

    #[test]
    fn tables_rise_and_names_are_known() {
        for (id, distribution) in Distribution::ALL.into_iter().enumerate() {
            assert!(distribution.table().quantiles.is_sorted());
            assert_eq!(distribution.id() as usize, id);
            let longest = distribution.longest(Duration::from_secs(1), Duration::from_secs(1));
            assert!(longest.as_secs_f64() >= 2.0 && longest.as_secs_f64() < 20.0, "{longest:?}");
            assert_eq!(Distribution::of_name(distribution.name()), Some(distribution));
        }
        assert_eq!(Distribution::of_name("gauss"), None);
    }
}
