//! `guardctl budget`: what is used of each budget.

use super::look::{Look, Tone};
use super::table::{Cell, Column, Table};
use super::text::{count, duration, percent};
use crate::config::text::size;
use crate::control::api::{BudgetAmount, BudgetRecord, Budgets};

/// The table; one row for each amount.
pub(in crate::ctl) fn budgets(budgets: &Budgets, look: &Look) -> String {
    if budgets.budgets.is_empty() {
        return "no budgets are configured\n".to_owned();
    }
    let mut table = Table::new(&[
        Column::Words("BULKHEAD"),
        Column::Words("SERVICES"),
        Column::Words("WHAT"),
        Column::Figures("USED"),
        Column::Figures("LIMIT"),
        Column::Figures("%"),
        Column::Figures("PER"),
        Column::Figures("ENDS IN"),
        Column::Words("STATE"),
    ]);
    let now = jiff::Timestamp::now().as_second();
    for budget in &budgets.budgets {
        for amount in &budget.amounts {
            table.row(row(budget, amount, now));
        }
    }
    table.render(look)
}

fn row(budget: &BudgetRecord, amount: &BudgetAmount, now: i64) -> Vec<Cell> {
    let show = |n: u64| if amount.name == "bytes" { size::format(n) } else { count(n) };
    let left = i64::try_from(budget.ends_unix_seconds).unwrap_or(i64::MAX).saturating_sub(now);
    let share = amount.used as f64 / amount.limit.max(1) as f64;
    let services =
        if budget.services.is_empty() { "(all)".to_owned() } else { budget.services.join(",") };
    vec![
        budget.bulkhead.as_str().into(),
        services.into(),
        amount.name.as_str().into(),
        show(amount.used).into(),
        show(amount.limit).into(),
        percent(share).into(),
        duration(budget.per_seconds as f64).into(),
        duration(left.max(0) as f64).into(),
        match budget.state.as_str() {
            "ok" => "ok".into(),
            state => Cell::toned(Tone::Odd, &format!("{state} ({})", budget.on_exhausted)),
        },
    ]
}
