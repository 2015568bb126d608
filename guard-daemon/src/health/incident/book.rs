//! All incidents that are known: in memory, and in a log that outlives guardd.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Closed, End, Entry, EntryKind, Incident, Total, Totals};
use crate::journal::AppendLog;
use crate::recovery::Situation;

/// The file in the state directory.
const FILE: &str = "incidents.log";
/// Incidents kept; older ones that have ended give way. The totals go on.
const KEPT: usize = 1_000;
/// Lines of one timeline.
const MOST_ENTRIES: usize = 500;
/// Above this the log is made shorter: at the start, and when totals are written down.
const MOST_BYTES: u64 = 4 << 20;

/// All incidents that are known.
#[derive(Debug)]
pub struct IncidentBook {
    incidents: BTreeMap<u64, Incident>,
    next: u64,
    totals: Totals,
    log: Option<AppendLog<Change>>,
    /// Bytes above which it is made shorter; more where what is kept takes more by itself.
    most_bytes: u64,
}

/// One line of the log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Opened(Box<Incident>),
    Added { id: u64, entry: Entry },
    Closed { id: u64, closed: Closed },
    Totals { next: u64, totals: Vec<(String, String, Total)> },
}

impl IncidentBook {
    /// Opens the log in this directory and reads what is in it. What was open goes on.
    pub fn open_in(state_dir: &Path) -> Self {
        let (log, found) = AppendLog::open(&state_dir.join(FILE));
        for damage in &found.damaged {
            tracing::warn!(file = FILE, "{damage}");
        }
        let mut book = Self {
            incidents: BTreeMap::new(),
            next: 1,
            totals: Totals::new(),
            log: None,
            most_bytes: MOST_BYTES,
        };
        for change in found.records {
            book.apply(change);
        }
        book.log = Some(log);
        book.shorten_if_long();
        let open: Vec<u64> = book.active().map(|incident| incident.id).collect();
        for id in open {
            book.add(id, Entry::now(EntryKind::Note, "guardd was away; it goes on from here"));
        }
        book
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Opened(incident) => {
                self.next = self.next.max(incident.id + 1);
                self.incidents.insert(incident.id, *incident);
                self.forget_old();
            }
            Change::Added { id, entry } => {
                let incident = self.incidents.get_mut(&id);
                if let Some(incident) = incident.filter(|i| i.timeline.len() < MOST_ENTRIES) {
                    incident.timeline.push(entry);
                }
            }
            Change::Closed { id, closed } => {
                let Some(incident) = self.incidents.get_mut(&id) else { return };
                let seconds = seconds_between(&incident.opened, &closed.time);
                if closed.end == End::Recovered {
                    let total = self.totals.entry(key(&incident.situation)).or_default();
                    if incident.situation.injected {
                        total.injected_incidents += 1;
                        total.injected_seconds += seconds;
                    } else {
                        total.incidents += 1;
                        total.incident_seconds += seconds;
                    }
                }
                incident.closed = Some(closed);
            }
            Change::Totals { next, totals } => {
                self.next = self.next.max(next);
                self.totals = totals.into_iter().map(|(b, s, total)| ((b, s), total)).collect();
            }
        }
    }

    fn write(&mut self, change: Change, sync: bool) {
        if let Some(log) = &mut self.log {
            log.push(&change, sync);
        }
        self.apply(change);
    }

    fn forget_old(&mut self) {
        while self.incidents.len() > KEPT {
            let ended = self.incidents.values().find(|incident| incident.closed.is_some());
            let Some(oldest) = ended.map(|incident| incident.id) else { return };
            self.incidents.remove(&oldest);
        }
    }

    /// Opens one; its number.
    pub fn open(&mut self, mut situation: Situation) -> u64 {
        let id = self.next;
        situation.incident = id;
        let opened = jiff::Timestamp::now().to_string();
        let incident = Incident { id, situation, opened, timeline: Vec::new(), closed: None };
        self.write(Change::Opened(Box::new(incident)), true);
        id
    }

    /// Adds a line to one that is open.
    pub fn add(&mut self, id: u64, entry: Entry) {
        self.write(Change::Added { id, entry }, false);
    }

    /// Closes it.
    pub fn close(&mut self, id: u64, end: End, helped: Option<String>, message: String) {
        let time = jiff::Timestamp::now().to_string();
        self.write(Change::Closed { id, closed: Closed { time, end, helped, message } }, true);
    }

    /// Adds to the time for which pairs were watched.
    pub fn observed(&mut self, pairs: impl Iterator<Item = (String, String)>, seconds: f64) {
        for pair in pairs {
            self.totals.entry(pair).or_default().observed_seconds += seconds;
        }
    }

    /// Writes the totals down: now and then, and at the end.
    pub fn save_totals(&mut self) {
        let totals = self.totals_line();
        if let Some(log) = &mut self.log {
            log.push(&totals, false);
        }
        self.shorten_if_long();
    }

    /// Not while lines wait for the disk: what is known holds them already, and an end that is
    /// written behind it counts twice.
    fn shorten_if_long(&mut self) {
        let length = |book: &Self| book.log.as_ref().map_or(0, AppendLog::length_bytes);
        if length(self) <= self.most_bytes || self.problem().is_some() {
            return;
        }
        self.shorten();
        // Not at every line where what is kept is as long as that.
        self.most_bytes = MOST_BYTES.max(length(self) * 2);
    }

    fn totals_line(&self) -> Change {
        let totals =
            self.totals.iter().map(|((b, s), total)| (b.clone(), s.clone(), *total)).collect();
        Change::Totals { next: self.next, totals }
    }

    /// Writes anew what is known, without what was forgotten. The incidents come first: each end
    /// counts in the totals, which the line behind them sets right.
    fn shorten(&mut self) {
        let mut changes = Vec::new();
        for incident in self.incidents.values() {
            changes.push(Change::Opened(Box::new(incident.clone())));
        }
        changes.push(self.totals_line());
        if let Some(log) = &mut self.log {
            log.rewrite(&changes);
        }
    }

    /// By its number.
    pub fn get(&self, id: u64) -> Option<&Incident> {
        self.incidents.get(&id)
    }

    /// All, in the order of their numbers.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Incident> {
        self.incidents.values()
    }

    /// Those that go on.
    pub fn active(&self) -> impl Iterator<Item = &Incident> {
        self.all().filter(|incident| incident.closed.is_none())
    }

    /// Sums by bulkhead and service; open incidents count up to now.
    pub fn totals(&self) -> Totals {
        let mut totals = self.totals.clone();
        let now = jiff::Timestamp::now().to_string();
        for incident in self.active() {
            let total = totals.entry(key(&incident.situation)).or_default();
            let seconds = seconds_between(&incident.opened, &now);
            if incident.situation.injected {
                total.injected_seconds += seconds;
            } else {
                total.open_seconds += seconds;
            }
        }
        totals
    }

    /// Why the log is not written, if so.
    pub fn problem(&self) -> Option<String> {
        self.log.as_ref().and_then(AppendLog::problem)
    }
}

impl Entry {
    /// A line of now, about no step.
    pub fn now(kind: EntryKind, message: impl Into<String>) -> Self {
        Self {
            time: jiff::Timestamp::now().to_string(),
            kind,
            step: None,
            action: None,
            result: None,
            took_seconds: None,
            message: message.into(),
        }
    }
}

impl Incident {
    /// How long it took, or has taken so far, seconds.
    pub fn seconds(&self) -> f64 {
        let now = jiff::Timestamp::now().to_string();
        let end = self.closed.as_ref().map_or(now.as_str(), |closed| closed.time.as_str());
        seconds_between(&self.opened, end)
    }
}

fn key(situation: &Situation) -> (String, String) {
    let text = |of: &Option<String>| of.clone().unwrap_or_default();
    (text(&situation.bulkhead), text(&situation.service))
}

/// 0 where a time is damaged, or the clock was set back.
fn seconds_between(from: &str, to: &str) -> f64 {
    let parse = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let (Some(from), Some(to)) = (parse(from), parse(to)) else { return 0.0 };
    to.duration_since(from).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation(bulkhead: &str) -> Situation {
        Situation {
            rule: "r".into(),
            bulkhead: Some(bulkhead.into()),
            service: Some("api".into()),
            ..Situation::default()
        }
    }

    #[test]
    fn incidents_and_totals_outlive_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = IncidentBook::open_in(dir.path());
        let first = book.open(situation("a"));
        book.add(first, Entry::now(EntryKind::Detected, "sick"));
        book.close(first, End::Recovered, Some("end_call".into()), "well".into());
        book.observed([("a".to_owned(), "api".to_owned())].into_iter(), 60.0);
        book.save_totals();
        let second = book.open(situation("b"));
        drop(book);
        let mut book = IncidentBook::open_in(dir.path());
        let read = book.get(first).unwrap();
        assert_eq!(read.timeline.len(), 1);
        assert_eq!(read.closed.as_ref().unwrap().helped.as_deref(), Some("end_call"));
        let open: Vec<_> = book.active().collect();
        assert_eq!(open[0].id, second);
        assert!(open[0].timeline[0].message.contains("away"));
        let total = book.totals()[&("a".to_owned(), "api".to_owned())];
        assert_eq!((total.incidents, total.observed_seconds), (1, 60.0));
        assert!(total.mtbf_seconds().unwrap() > 59.0);
        assert_eq!(book.open(situation("c")), 3);
    }

    #[test]
    fn what_guard_injects_is_no_failure_of_the_service() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = IncidentBook::open_in(dir.path());
        let pair = ("a".to_owned(), "api".to_owned());
        book.observed([pair.clone()].into_iter(), 60.0);
        let drill = book.open(Situation { injected: true, ..situation("a") });
        book.close(drill, End::Recovered, None, "well".into());
        let real = book.open(situation("a"));
        book.close(real, End::Recovered, None, "well".into());
        book.save_totals();
        drop(book);
        let book = IncidentBook::open_in(dir.path());
        let mut total = book.totals()[&pair];
        assert_eq!((total.incidents, total.injected_incidents), (1, 1));
        total.injected_seconds = 20.0;
        total.incident_seconds = 10.0;
        assert_eq!(total.mtbf_seconds(), Some(30.0));
        assert_eq!(total.mttr_seconds(), Some(10.0));
        assert_eq!(total.availability(), Some(0.75));
    }

    #[test]
    fn a_log_of_a_long_run_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = IncidentBook::open_in(dir.path());
        let first = book.open(situation("a"));
        book.close(first, End::Recovered, None, "well".into());
        let pairs = (0..1000).map(|n| (format!("bulkhead-{n}"), "api".to_owned()));
        book.observed(pairs, 1.0);
        let (mut longest, mut written) = (0, 0);
        for _ in 0..200 {
            let before = book.log.as_ref().unwrap().length_bytes();
            book.save_totals();
            let after = book.log.as_ref().unwrap().length_bytes();
            written += after.saturating_sub(before);
            longest = longest.max(after);
        }
        assert!(written > 3 * MOST_BYTES, "the test writes too little: {written}");
        assert!(longest <= MOST_BYTES, "{longest}");
        drop(book);
        let book = IncidentBook::open_in(dir.path());
        assert_eq!(book.get(first).unwrap().closed.as_ref().unwrap().message, "well");
        let totals = book.totals();
        assert_eq!(totals[&("a".to_owned(), "api".to_owned())].incidents, 1);
        assert_eq!(totals.len(), 1001);
    }

    #[test]
    fn old_incidents_give_way_and_open_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = IncidentBook::open_in(dir.path());
        let open = book.open(situation("a"));
        for _ in 0..KEPT + 5 {
            let id = book.open(situation("b"));
            book.close(id, End::Recovered, None, String::new());
        }
        assert_eq!(book.all().count(), KEPT);
        assert!(book.get(open).is_some());
        book.shorten();
        drop(book);
        let book = IncidentBook::open_in(dir.path());
        assert!(book.get(open).is_some());
        let total = book.totals()[&("b".to_owned(), "api".to_owned())];
        assert_eq!(total.incidents, KEPT as u64 + 5);
    }
}
