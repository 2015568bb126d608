//! What a reload changes in schedules.

use crate::config::text::shown;
use crate::plan::{Plan, SchedulePlan};

/// Lines for the schedules that differ.
pub(super) fn schedules(old: &Plan, new: &Plan, lines: &mut Vec<String>) {
    let find = |plan: &'_ Plan, name: &str| -> Option<SchedulePlan> {
        plan.schedules.iter().find(|schedule| schedule.name == name).cloned()
    };
    for gone in old.schedules.iter().filter(|schedule| find(new, &schedule.name).is_none()) {
        lines.push(format!("schedule {} removed", gone.name));
    }
    for schedule in &new.schedules {
        let (name, calendar) = (&schedule.name, shown(schedule.calendar.text()));
        match find(old, name) {
            None => lines.push(format!("schedule {name} added: {calendar}")),
            Some(before) if before != *schedule => {
                let state = if schedule.enabled { calendar } else { "not enabled".to_owned() };
                lines.push(format!("schedule {name} changed: {state}"));
            }
            Some(_) => {}
        }
    }
}
