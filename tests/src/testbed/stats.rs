//! The little statistics that tests and benchmarks need. It never assumes a distribution.

/// The `q`-quantile (0 to 1) with linear interpolation; `None` without samples.
#[must_use]
pub fn quantile(samples: &[f64], q: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let position = q.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (position.floor(), position.ceil());
    let (a, b) = (sorted[low as usize], sorted[high as usize]);
    Some(a + (b - a) * (position - low))
}

/// The median; `None` without samples.
#[must_use]
pub fn median(samples: &[f64]) -> Option<f64> {
    quantile(samples, 0.5)
}

/// Median absolute deviation from the median: a spread that outliers do not move.
#[must_use]
pub fn median_deviation(samples: &[f64]) -> Option<f64> {
    let middle = median(samples)?;
    let deviations: Vec<f64> = samples.iter().map(|x| (x - middle).abs()).collect();
    median(&deviations)
}

/// Wilson's score interval of a share: where the true probability lies after `hits` of `trials`,
/// with `z` standard deviations of confidence (1.96: 95 %, 3.29: 99.9 %). (0, 1) without trials.
#[must_use]
pub fn wilson(hits: u64, trials: u64, z: f64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (trials as f64, hits as f64 / trials as f64);
    let z2 = z * z;
    let centre = p + z2 / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::{median, median_deviation, quantile, wilson};

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-4
    }

    #[test]
    fn quantiles_interpolate_and_do_not_need_order() {
        let samples = [4.0, 1.0, 3.0, 2.0];
        assert!(near(median(&samples).unwrap(), 2.5));
        assert!(near(quantile(&samples, 0.0).unwrap(), 1.0));
        assert!(near(quantile(&samples, 1.0).unwrap(), 4.0));
        assert!(near(quantile(&samples, 0.25).unwrap(), 1.75));
        assert_eq!(median(&[]), None);
        assert!(near(median_deviation(&[1.0, 2.0, 3.0, 100.0, 2.0]).unwrap(), 1.0));
    }

    #[test]
    fn wilson_agrees_with_the_textbook() {
        // 10 of 50 at 95 %: 0.1124 to 0.3304 (Newcombe 1998's method 3).
        let (low, high) = wilson(10, 50, 1.96);
        assert!(near(low, 0.1124) && near(high, 0.3304), "{low} {high}");
        let (low, high) = wilson(0, 20, 1.96);
        assert!(low.abs() < 1e-12 && near(high, 0.1611), "{low} {high}");
        assert_eq!(wilson(0, 0, 1.96), (0.0, 1.0));
    }
}
