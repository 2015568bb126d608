//! `guardctl incidents`, `recover` and `policy` for people.

use super::look::{Look, Tone};
use super::table::{Cell, Column, Table};
use super::text::{clean, duration};
use crate::control::api::{IncidentRecord, Incidents, Policies, Recovered};

fn name(of: Option<&String>) -> String {
    of.cloned().unwrap_or_else(|| "-".to_owned())
}

/// The list.
pub(in crate::ctl) fn incidents(answer: &Incidents, look: &Look) -> String {
    let mut page = String::new();
    if answer.incidents.is_empty() {
        page.push_str("no incidents\n");
    } else {
        let mut table = Table::new(&[
            Column::Figures("ID"),
            Column::Whole("STATE"),
            Column::Whole("SINCE"),
            Column::Figures("LASTED"),
            Column::Words("BULKHEAD"),
            Column::Words("SERVICE"),
            Column::Words("RULE"),
            Column::Whole("HELPED"),
            Column::Words("REASON"),
        ]);
        for record in &answer.incidents {
            table.row(row(record));
        }
        page.push_str(&table.render(look));
    }
    if let Some(problem) = &answer.problem {
        page.push_str(&format!("! kept in memory alone: {}\n", clean(problem)));
    }
    page
}

fn row(record: &IncidentRecord) -> Vec<Cell> {
    let incident = &record.incident;
    let of = &incident.situation;
    let helped = incident
        .closed
        .as_ref()
        .map(|closed| closed.helped.clone().unwrap_or_else(|| "by itself".to_owned()));
    vec![
        incident.id.to_string().into(),
        match &incident.closed {
            None => Cell::toned(Tone::Odd, "open"),
            Some(_) => "closed".into(),
        },
        short(&incident.opened).into(),
        duration(record.seconds).into(),
        name(of.bulkhead.as_ref()).into(),
        name(of.service.as_ref()).into(),
        of.rule.as_str().into(),
        helped.unwrap_or_else(|| "-".to_owned()).into(),
        if of.injected { format!("(injected) {}", of.reason) } else { of.reason.clone() }.into(),
    ]
}

/// Date and time to the second.
fn short(time: &str) -> String {
    let seconds = time.split('.').next().unwrap_or(time);
    seconds.trim_end_matches('Z').replace('T', " ")
}

/// One with its timeline.
pub(in crate::ctl) fn incident(answer: &Incidents, look: &Look) -> String {
    let mut page = String::new();
    for record in &answer.incidents {
        let incident = &record.incident;
        let of = &incident.situation;
        let state = match &incident.closed {
            None => format!("open for {}", duration(record.seconds)),
            Some(closed) => {
                format!("closed after {}: {}", duration(record.seconds), closed.message)
            }
        };
        page.push_str(&clean(&format!(
            "incident {}  {}/{}  rule {}  {state}",
            incident.id,
            name(of.bulkhead.as_ref()),
            name(of.service.as_ref()),
            of.rule
        )));
        page.push_str("\n\n");
        let mut table = Table::new(&[
            Column::Whole("TIME"),
            Column::Whole("WHAT"),
            Column::Figures("STEP"),
            Column::Whole("ACTION"),
            Column::Whole("RESULT"),
            Column::Words("DETAIL"),
        ]);
        for entry in &incident.timeline {
            let kind = serde_json::to_value(entry.kind).ok();
            let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default().to_owned();
            table.row(vec![
                short(&entry.time).into(),
                kind.into(),
                entry.step.map_or_else(|| "-".to_owned(), |step| step.to_string()).into(),
                name(entry.action.as_ref()).into(),
                entry.result.map_or("-", |result| result.name()).into(),
                entry.message.as_str().into(),
            ]);
        }
        page.push_str(&table.lines(look).join("\n"));
        page.push('\n');
    }
    page
}

/// What a recovery that was asked for has come to.
pub(in crate::ctl) fn recovered(answer: &Recovered, look: &Look) -> String {
    let mut table = Table::new(&[
        Column::Whole("ACTION"),
        Column::Whole("RESULT"),
        Column::Figures("TOOK"),
        Column::Words("DETAIL"),
    ]);
    for step in &answer.steps {
        table.row(vec![
            step.action.as_str().into(),
            step.result.as_str().into(),
            duration(step.seconds).into(),
            step.message.as_str().into(),
        ]);
    }
    let verdict = match (answer.incident, answer.helped) {
        (0, _) => "dry run: nothing was done".to_owned(),
        (id, Some(true)) => format!("incident {id}: calls go well"),
        (id, Some(false)) => format!("incident {id}: it did not help"),
        (id, None) => format!("incident {id}: no call has shown yet whether it helped"),
    };
    format!("{}\n{verdict}\n", table.render(look).trim_end())
}

/// Policies, as a table or as variables.
pub(in crate::ctl) fn policies(answer: &Policies, env: bool, look: &Look) -> String {
    if env {
        let lines = answer.environment.iter().map(|(name, value)| format!("{name}={value}\n"));
        return lines.collect();
    }
    let mut table = Table::new(&[
        Column::Words("POLICY"),
        Column::Figures("RETRIES"),
        Column::Whole("BACKOFF"),
        Column::Figures("FIRST"),
        Column::Figures("LONGEST"),
        Column::Whole("JITTER"),
    ]);
    for policy in &answer.policies {
        let seconds = |key: &str| duration(policy[key].as_f64().unwrap_or_default());
        let backoff = if policy["exponential"] == true { "exponential" } else { "fixed" };
        table.row(vec![
            policy["name"].as_str().unwrap_or_default().into(),
            policy["max_retries"].to_string().into(),
            backoff.into(),
            seconds("initial_delay_seconds").into(),
            seconds("max_delay_seconds").into(),
            if policy["jitter"] == true { "yes" } else { "no" }.into(),
        ]);
    }
    table.render(look)
}
