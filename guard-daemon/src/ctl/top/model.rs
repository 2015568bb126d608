//! What `top` shows, made of guardd's answers: a row for each bulkhead, with the figures of the last
//! minute. It asks nobody and draws nothing.

use std::collections::{BTreeMap, VecDeque};

use guard_common::abi::outcome::Outcome;
use guard_common::abi::stats::CALL_BUCKET_COUNT;
use guard_common::logic::histogram;
use serde::Deserialize;

use crate::control::api::{BreakerRecord, BulkheadStatus, FaultRecord, ServiceStatus, Status};

/// Figures are those of the last so many seconds, where there are.
const WINDOW_SECONDS: f64 = 60.0;
const NS_PER_SECOND: f64 = 1e9;

/// One round of answers.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    pub(super) status: Status,
    /// What the bulkheads of `status` have beyond it, in the same order.
    pub(super) extras: Vec<Extra>,
    pub(super) breakers: Vec<BreakerRecord>,
}

/// Parts of a bulkhead's status that a guardd may leave out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Extra {
    pub(super) resources: Resources,
    pub(super) limits: Vec<Limit>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Resources {
    pub(super) memory_bytes: Option<u64>,
    pub(super) memory_stall_percent: Option<f64>,
    pub(super) cpu_stall_percent: Option<f64>,
    pub(super) io_stall_percent: Option<f64>,
    pub(super) limits: Vec<ResourceLimit>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ResourceLimit {
    pub(super) resource: String,
    pub(super) limit: f64,
    pub(super) state: String,
}

/// Limits of connections and retries, of the bulkhead or of one service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Limit {
    pub(super) service: Option<String>,
    pub(super) connections: u64,
    pub(super) max_connections: Option<u64>,
    pub(super) retries: u64,
    pub(super) max_retries: Option<u64>,
    pub(super) rejected: BTreeMap<String, u64>,
    pub(super) blocked: bool,
}

/// Figures of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Calls {
    pub(super) total: u64,
    /// `None` without a time to divide by.
    pub(super) per_second: Option<f64>,
    pub(super) success: Option<f64>,
    pub(super) p50_seconds: Option<f64>,
    pub(super) p99_seconds: Option<f64>,
}

/// One line of the table.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) name: String,
    /// Empty, or why its programs are not attached.
    pub(super) trouble: String,
    pub(super) processes: u64,
    pub(super) memory_bytes: Option<u64>,
    pub(super) memory_max: Option<f64>,
    /// The worst of memory, processors and devices, percent.
    pub(super) pressure: Option<f64>,
    pub(super) connections: u64,
    pub(super) max_connections: Option<u64>,
    pub(super) calls: Calls,
    pub(super) open: usize,
    pub(super) half_open: usize,
    /// Calls that limits and budgets rejected since the start.
    pub(super) rejected: u64,
    pub(super) limited: bool,
    pub(super) blocked: bool,
    pub(super) faults: usize,
    /// Sockets that escape guard.
    pub(super) unguarded: usize,
}

/// One service of a bulkhead.
#[derive(Clone, Debug)]
pub(super) struct ServiceRow {
    pub(super) name: String,
    pub(super) calls: Calls,
    pub(super) connections: u64,
    pub(super) breaker: Option<BreakerRecord>,
}

/// Counters of one (bulkhead, service), to take differences of.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    calls: u64,
    good: u64,
    bad: u64,
    buckets: [u64; CALL_BUCKET_COUNT],
}

type Snapshot = BTreeMap<(String, String), Totals>;

/// The answers of the last minute.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) last: Option<Answers>,
    history: VecDeque<(f64, Snapshot)>,
    /// guardd's process: another one begins to count anew.
    pid: u32,
}

impl Model {
    /// Takes new answers, which came at this time (seconds of any clock that never goes back).
    pub(super) fn take(&mut self, now_seconds: f64, answers: Answers) {
        if self.pid != answers.status.pid {
            self.history.clear();
            self.pid = answers.status.pid;
        }
        let mut snapshot = Snapshot::new();
        for bulkhead in &answers.status.bulkheads {
            for service in &bulkhead.services {
                let key = (bulkhead.name.clone(), service.name.clone());
                snapshot.insert(key, Totals::of(service));
            }
        }
        self.history.push_back((now_seconds, snapshot));
        // The first that is old enough stays, to measure from.
        while self.history.get(1).is_some_and(|(at, _)| now_seconds - at >= WINDOW_SECONDS) {
            self.history.pop_front();
        }
        self.last = Some(answers);
    }

    /// Over how many seconds the figures are; `None` = since guardd counts.
    pub(super) fn window_seconds(&self) -> Option<f64> {
        let (first, last) = (self.history.front()?, self.history.back()?);
        Some(last.0 - first.0).filter(|seconds| *seconds > 0.0)
    }

    /// A row for each bulkhead, by name.
    pub(super) fn rows(&self) -> Vec<Row> {
        let Some(answers) = &self.last else { return Vec::new() };
        let mut open: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for breaker in &answers.breakers {
            let counts = open.entry(&breaker.bulkhead).or_default();
            counts.0 += usize::from(breaker.state == "open");
            counts.1 += usize::from(breaker.state == "half_open");
        }
        let none = Extra::default();
        let bulkheads = answers.status.bulkheads.iter().enumerate();
        bulkheads
            .map(|(at, bulkhead)| {
                let extra = answers.extras.get(at).unwrap_or(&none);
                let (open, half_open) = open.get(bulkhead.name.as_str()).copied().unwrap_or((0, 0));
                let faults = active(&answers.status, &bulkhead.name).count();
                Row { open, half_open, faults, ..self.row(bulkhead, extra) }
            })
            .collect()
    }

    fn row(&self, bulkhead: &BulkheadStatus, extra: &Extra) -> Row {
        let whole = extra.limits.iter().find(|limit| limit.service.is_none());
        let pressure = [
            extra.resources.memory_stall_percent,
            extra.resources.cpu_stall_percent,
            extra.resources.io_stall_percent,
        ];
        let memory_max = extra
            .resources
            .limits
            .iter()
            .find(|limit| limit.resource == "memory_max" && limit.state == "enforced");
        Row {
            name: bulkhead.name.clone(),
            trouble: if bulkhead.state == "attached" {
                String::new()
            } else {
                bulkhead.state.clone()
            },
            processes: bulkhead.processes,
            memory_bytes: extra.resources.memory_bytes,
            memory_max: memory_max.map(|limit| limit.limit),
            pressure: pressure.into_iter().flatten().reduce(f64::max),
            connections: bulkhead.connections,
            max_connections: whole.and_then(|limit| limit.max_connections),
            calls: self.calls(|at, _| at == bulkhead.name),
            rejected: extra.limits.iter().flat_map(|limit| limit.rejected.values()).sum(),
            limited: !extra.limits.is_empty(),
            blocked: extra.limits.iter().any(|limit| limit.blocked),
            unguarded: bulkhead.unguarded.len(),
            ..Row::default()
        }
    }

    /// The services of one bulkhead, those with an open breaker and no calls too.
    pub(super) fn services(&self, bulkhead: &str) -> Vec<ServiceRow> {
        let Some(answers) = &self.last else { return Vec::new() };
        let mut rows: BTreeMap<&str, ServiceRow> = BTreeMap::new();
        let found = answers.status.bulkheads.iter().find(|b| b.name == bulkhead);
        for service in found.iter().flat_map(|b| &b.services) {
            let row = ServiceRow {
                name: service.name.clone(),
                calls: self.calls(|at, name| at == bulkhead && name == service.name),
                connections: service.connections,
                breaker: None,
            };
            rows.insert(&service.name, row);
        }
        for breaker in answers.breakers.iter().filter(|b| b.bulkhead == bulkhead) {
            match rows.get_mut(breaker.service.as_str()) {
                Some(row) => row.breaker = Some(breaker.clone()),
                None if breaker.state == "closed" => {}
                None => {
                    let row = ServiceRow {
                        name: breaker.service.clone(),
                        calls: Calls::default(),
                        connections: 0,
                        breaker: Some(breaker.clone()),
                    };
                    rows.insert(&breaker.service, row);
                }
            }
        }
        rows.into_values().collect()
    }

    /// Figures of the pairs that are wanted, over the window.
    fn calls(&self, wanted: impl Fn(&str, &str) -> bool) -> Calls {
        let Some((_, last)) = self.history.back() else { return Calls::default() };
        let seconds = self.window_seconds();
        let first = seconds.and_then(|_| self.history.front().map(|(_, snapshot)| snapshot));
        let mut sum = Totals::default();
        for (key, totals) in last.iter().filter(|((bulkhead, name), _)| wanted(bulkhead, name)) {
            sum.add(*totals);
            if let Some(before) = first.and_then(|first| first.get(key)) {
                sum.subtract(*before);
            }
        }
        let quantile = |q| histogram::quantile_ns(&sum.buckets, q).map(|ns| ns / NS_PER_SECOND);
        let judged = sum.good + sum.bad;
        Calls {
            total: sum.calls,
            per_second: seconds.map(|seconds| sum.calls as f64 / seconds),
            success: (judged > 0).then(|| sum.good as f64 / judged as f64),
            p50_seconds: quantile(0.5),
            p99_seconds: quantile(0.99),
        }
    }
}

/// Faults of a bulkhead that are on, or will be.
pub(super) fn active<'a>(
    status: &'a Status,
    bulkhead: &'a str,
) -> impl Iterator<Item = &'a FaultRecord> {
    status.faults.iter().filter(move |fault| fault.bulkhead == bulkhead && fault.state != "ended")
}

impl Totals {
    fn of(service: &ServiceStatus) -> Self {
        let calls = |outcome: Outcome| service.calls.get(outcome.name()).copied().unwrap_or(0);
        let mut buckets = [0; CALL_BUCKET_COUNT];
        for (bucket, count) in buckets.iter_mut().zip(&service.call_buckets) {
            *bucket = *count;
        }
        let is_bad = |outcome: &Outcome| outcome.is_failure() || *outcome == Outcome::Throttled;
        Self {
            calls: service.calls.values().sum(),
            good: calls(Outcome::Success),
            bad: Outcome::ALL.into_iter().filter(is_bad).map(calls).sum(),
            buckets,
        }
    }

    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.good += other.good;
        self.bad += other.bad;
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
    }

    /// Never below zero: counters of a pair that was forgotten begin anew.
    fn subtract(&mut self, other: Self) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.good = self.good.saturating_sub(other.good);
        self.bad = self.bad.saturating_sub(other.bad);
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine = mine.saturating_sub(theirs);
        }
    }
}
