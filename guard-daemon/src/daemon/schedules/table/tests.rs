//! Schedules that come, go and change, without a guardd.

use super::*;
use crate::schedule::Calendar;

fn plan(calendar: &str, enabled: bool) -> SchedulePlan {
    let text = format!(
        "[[schedule]]\nname = \"a\"\ndrill = \"/nowhere\"\ncalendar = \"@daily\"\n\
         enabled = {enabled}\n"
    );
    let plan = crate::config::parse("guard.toml", &text).unwrap().plan.schedules.remove(0);
    SchedulePlan { calendar: Calendar::parse(calendar).unwrap(), ..plan }
}

fn at(text: &str) -> Zoned {
    text.parse().unwrap()
}

#[test]
fn a_schedule_begins_when_it_is_new_enabled_or_has_another_calendar() {
    let mut all = Schedules::default();
    let (first, later) = (at("2026-11-27T09:00:00[UTC]"), at("2026-11-27T12:00:00[UTC]"));
    let handled = |all: &Schedules| all.memory.get("a").map(|known| known.handled);
    assert!(all.take(&[plan("0 10 * * *", true)], &first), "to be written down");
    assert_eq!(handled(&all), Some(first.timestamp()));
    assert!(!all.take(&[plan("0 10 * * *", true)], &later), "nothing is new");
    assert_eq!(handled(&all), Some(first.timestamp()));
    assert!(all.take(&[plan("0 11 * * *", true)], &later));
    assert_eq!(handled(&all), Some(later.timestamp()), "11:00 was never planned");
    assert!(all.take(&[plan("0 11 * * *", false)], &later));
    assert_eq!((handled(&all), all.first_next()), (None, None));
    all.take(&[], &later);
    assert!(all.live.is_empty());
}

#[test]
fn a_clock_that_was_far_ahead_does_not_silence_a_schedule() {
    let mut all = Schedules::default();
    let plans = [plan("0 10 * * *", true)];
    all.take(&plans, &at("2040-01-01T00:00:00[UTC]"));
    let now = at("2026-11-27T12:00:00[UTC]");
    assert!(all.take(&plans, &now));
    assert_eq!(all.memory["a"].handled, now.timestamp());
    let summer = at("2026-11-27T11:00:00[UTC]");
    assert!(!all.take(&plans, &summer), "an hour back is a clock that was set");
}

#[test]
fn runs_are_counted_and_told() {
    let mut all = Schedules::default();
    let (plans, now) = ([plan("0 10 * * *", true)], at("2026-11-27T12:00:00[UTC]"));
    all.take(&plans, &now);
    let due = Due { plan: plans[0].clone(), planned: now.timestamp() };
    let why = "one missed".to_owned();
    let outcome =
        Outcome { verdict: Verdict::Deviated, exit_code: Some(1), why, run_id: "7".into() };
    all.ended(&due, outcome);
    let sample = all.samples(&plans, &now).remove(0);
    let wanted = [("held", 0), ("deviated", 1), ("inconclusive", 0), ("failed", 0)];
    assert_eq!(sample.runs, wanted);
    let status = all.statuses(&plans, &now).remove(0);
    assert_eq!(status.next.as_deref(), Some("2026-11-28T10:00:00+00:00[UTC]"));
    assert_eq!((status.state.as_str(), status.last.unwrap().run_id.as_str()), ("idle", "7"));
}
