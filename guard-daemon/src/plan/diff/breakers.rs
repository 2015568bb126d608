//! What a reload changes in breakers.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::errno::Errno;

use crate::config::text::duration;
use crate::plan::{BreakerMode, BreakerRules, BreakerSettings, OpenAction, OpenPool};

/// Lines for the settings that differ.
pub(super) fn breakers(old: &BreakerRules, new: &BreakerRules, lines: &mut Vec<String>) {
    settings("defaults.breaker", &old.defaults, &new.defaults, lines);
    let none = BreakerSettings::default();
    let pairs: BTreeSet<_> = old.of_pairs.keys().chain(new.of_pairs.keys()).collect();
    for pair in pairs {
        let of = |rules: &BreakerRules| rules.of_pairs.get(pair).copied().unwrap_or(none);
        settings(&format!("breaker {}/{}", pair.0, pair.1), &of(old), &of(new), lines);
    }
}

fn settings(at: &str, old: &BreakerSettings, new: &BreakerSettings, lines: &mut Vec<String>) {
    macro_rules! each {
        ($($field:ident),+ $(,)?) => {
            // Destructured, so that a new setting is compared too.
            let BreakerSettings { $($field: _),+ } = old;
            $(if old.$field != new.$field {
                let (from, to) = (show(old.$field), show(new.$field));
                lines.push(format!("{at}: {} {from} -> {to}", stringify!($field)));
            })+
        };
    }
    each!(
        failure_threshold,
        success_rate_below,
        slow_after,
        slow_share,
        abandoned_after,
        window,
        min_calls,
        open_timeout,
        backoff,
        max_open_timeout,
        max_retry_after,
        jitter,
        half_open_calls,
        errno,
        open_pool,
        open_action,
        hold_max,
        mode,
    );
}

fn show<T: Show>(value: Option<T>) -> String {
    value.map_or_else(|| "default".to_owned(), |value| value.show())
}

/// As the configuration writes it.
trait Show {
    fn show(&self) -> String;
}

impl Show for Duration {
    fn show(&self) -> String {
        duration::format(*self)
    }
}

impl Show for Errno {
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

macro_rules! show_as_text {
    ($($kind:ty),+) => {
        $(impl Show for $kind {
            fn show(&self) -> String {
                self.to_string()
            }
        })+
    };
}
show_as_text!(u32, f64, BreakerMode, OpenPool, OpenAction);
