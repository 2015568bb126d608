//! The schedules below `drill list`. It prints nothing itself.

use super::look::Look;
use super::table::{Column, Table};
use crate::control::api::ScheduleStatus;

/// One row for each; empty without any.
pub(super) fn table(schedules: &[ScheduleStatus], look: &Look) -> String {
    if schedules.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        Column::Whole("SCHEDULE"),
        Column::Whole("STATE"),
        Column::Whole("NEXT"),
        Column::Words("CALENDAR"),
        Column::Words("DRILL"),
        Column::Words("LAST"),
    ]);
    for schedule in schedules {
        let last = schedule.last.as_ref();
        table.row(vec![
            schedule.name.clone().into(),
            schedule.state.clone().into(),
            schedule.next.clone().unwrap_or_else(|| "-".to_owned()).into(),
            schedule.calendar.clone().into(),
            schedule.drill.clone().into(),
            last.map_or_else(|| "-".to_owned(), |run| format!("{} {}", run.verdict, run.planned))
                .into(),
        ]);
    }
    format!("\n{}", table.render(look))
}
