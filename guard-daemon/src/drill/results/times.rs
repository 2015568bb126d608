//! How long things took: until the first miss, until a breaker opened, until calls succeeded
//! again. Samples are a second apart, so these are seconds, not milliseconds.

use super::phases::Phases;
use super::words::target;
use crate::drill::Record;
use crate::drill::record::PairSample;
use crate::drill::spec::Phase;

/// Something that took time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Took {
    /// `research/github opens`.
    pub(super) what: String,
    /// Seconds.
    pub(super) seconds: f64,
    /// `faults begin` or `faults end`: from when it is counted.
    pub(super) since: &'static str,
}

const BEGIN: &str = "faults begin";
const END: &str = "faults end";

/// All that can be told, in the order in which it happened for each pair.
pub(super) fn times(record: &Record) -> Vec<Took> {
    let Some((start, end)) = Phases::of(record).all_faults(record) else { return Vec::new() };
    let mut all = Vec::new();
    let during = record.checks.iter().filter(|check| check.phase == Phase::During);
    let misses = during.filter_map(|check| check.first_miss_seconds).filter(|at| *at >= start);
    if let Some(at) = misses.reduce(f64::min) {
        all.push(Took { what: "first miss".into(), seconds: at - start, since: BEGIN });
    }
    for (bulkhead, service) in pairs(record) {
        let name = target(bulkhead, service);
        let history = history(record, bulkhead, service);
        let open = history.iter().find(|(at, pair)| *at >= start && pair.breaker == "open");
        if let Some((opened, _)) = open {
            let what = format!("{name} opens");
            all.push(Took { what, seconds: opened - start, since: BEGIN });
            let is_back = |(at, pair): &&(f64, &PairSample)| *at >= end && pair.breaker == "closed";
            if let Some((closed, _)) = history.iter().find(is_back) {
                let what = format!("{name} closes again");
                all.push(Took { what, seconds: closed - end, since: END });
            }
        }
        let is_target = record.plan.faults.iter().any(|fault| {
            fault.bulkhead == bulkhead && (fault.service == "*" || fault.service == service)
        });
        let recovered = recovered(&history, start, end).filter(|_| is_target);
        if let Some(at) = recovered {
            let what = format!("calls {name} succeed again");
            all.push(Took { what, seconds: at - end, since: END });
        }
    }
    all
}

/// When calls that had failed under the faults did not fail any more until the end of the drill.
fn recovered(history: &[(f64, &PairSample)], start: f64, end: f64) -> Option<f64> {
    let is_bad = |pair: &PairSample| pair.failed + pair.rejected > 0;
    history.iter().find(|(at, pair)| *at >= start && is_bad(pair))?;
    let last_bad = history.iter().rposition(|(_, pair)| is_bad(pair))?;
    let good = history.iter().skip(last_bad + 1);
    good.filter(|(at, pair)| *at >= end && pair.good > 0).map(|(at, _)| *at).next()
}

/// Every (bulkhead, service) of the samples, in the order in which they come up.
pub(super) fn pairs(record: &Record) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    for pair in record.samples.iter().flat_map(|sample| &sample.pairs) {
        let name = (pair.bulkhead.as_str(), pair.service.as_str());
        if !pairs.contains(&name) {
            pairs.push(name);
        }
    }
    pairs
}

/// One pair over time.
pub(super) fn history<'a>(
    record: &'a Record,
    bulkhead: &str,
    service: &str,
) -> Vec<(f64, &'a PairSample)> {
    let is_it = |pair: &&PairSample| pair.bulkhead == bulkhead && pair.service == service;
    let samples = record.samples.iter();
    samples.filter_map(|s| s.pairs.iter().find(is_it).map(|pair| (s.seconds, pair))).collect()
}
