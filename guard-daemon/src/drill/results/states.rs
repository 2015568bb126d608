//! Checks of the same steady state, put together. What cannot be told never counts as met.

use crate::drill::record::Check;

/// The checks of each steady state, in the order of their first.
pub(super) fn by_name(checks: &[Check]) -> Vec<Vec<&Check>> {
    let mut states: Vec<Vec<&Check>> = Vec::new();
    for check in checks {
        let is_it = |state: &&mut Vec<&Check>| state.iter().any(|it| it.name == check.name);
        match states.iter_mut().find(is_it) {
            Some(state) => state.push(check),
            None => states.push(vec![check]),
        }
    }
    states
}

/// When a steady state was first missed, seconds since the start of the drill.
pub(super) fn first_miss(state: &[&Check]) -> Option<f64> {
    let misses = state.iter().filter_map(|check| check.first_miss_seconds);
    misses.filter(|at| at.is_finite()).reduce(f64::min)
}

/// All of them met, or the worst of them. `None` of nothing.
pub(super) fn all_met(checks: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut all = None;
    for (at, met) in checks.into_iter().enumerate() {
        all = match (all, met) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            (None, Some(true)) if at == 0 => Some(true),
            _ => None,
        };
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_all() {
        assert_eq!(all_met([]), None);
        assert_eq!(all_met([Some(true), Some(true)]), Some(true));
        assert_eq!(all_met([Some(true), None]), None);
        assert_eq!(all_met([None, Some(true)]), None);
        assert_eq!(all_met([None, Some(false), Some(true)]), Some(false));
        assert_eq!(all_met([Some(true), Some(false), None]), Some(false));
    }
}
