//! `guardctl agent` and `guardctl checkpoint`: agents and their checkpoints.

use super::look::{Look, Tone};
use super::table::{Cell, Column, Table};
use super::text::{clean, count, duration};
use crate::config::text::size;
use crate::control::api::{AgentStatus, Agents, Checkpoints};

/// The table.
pub(in crate::ctl) fn agents(agents: &Agents, look: &Look) -> String {
    if agents.agents.is_empty() {
        return "no agents are configured\n".to_owned();
    }
    agent_table(&agents.agents, look)
}

/// One row for each agent.
pub(super) fn agent_table(agents: &[AgentStatus], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::Words("AGENT"),
        Column::Words("BULKHEAD"),
        Column::Words("STATE"),
        Column::Figures("PID"),
        Column::Figures("FOR"),
        Column::Figures("RESTARTS"),
        Column::Words("LAST END"),
        Column::Figures("CHECKPOINT"),
    ]);
    let now = jiff::Timestamp::now();
    for agent in agents {
        let since = agent.since.parse::<jiff::Timestamp>().ok();
        let tone = match agent.state.as_str() {
            "running" => Tone::Good,
            "failed" => Tone::Bad,
            _ => Tone::Odd,
        };
        let dash = || "-".to_owned();
        let last_end =
            if agent.last_end.is_empty() { dash() } else { clean(&agent.last_end).clone() };
        table.row(vec![
            agent.name.as_str().into(),
            agent.bulkhead.as_str().into(),
            Cell::toned(tone, &agent.state),
            agent.pid.map_or_else(dash, |pid| pid.to_string()).into(),
            since
                .map_or_else(dash, |since| {
                    duration(now.duration_since(since).as_secs_f64().max(0.0))
                })
                .into(),
            count(agent.restarts).into(),
            last_end.into(),
            agent.checkpoint.map_or_else(dash, |number| number.to_string()).into(),
        ]);
    }
    table.render(look)
}

/// What was done, and those that there are.
pub(in crate::ctl) fn checkpoints(answer: &Checkpoints, look: &Look) -> String {
    let mut page = String::new();
    if !answer.done.is_empty() {
        page.push_str(&format!("{}\n", clean(&answer.done)));
    }
    if answer.checkpoints.is_empty() {
        page.push_str(&format!("agent {} has no checkpoints\n", clean(&answer.agent)));
        return page;
    }
    let mut table = Table::new(&[
        Column::Figures("CHECKPOINT"),
        Column::Words("TIME"),
        Column::Figures("FILES"),
        Column::Figures("SIZE"),
        Column::Figures("FROZEN"),
        Column::Words("STATE"),
    ]);
    for one in &answer.checkpoints {
        let state = match (one.damage.as_str(), one.skipped.len()) {
            ("", 0) => "ok".into(),
            ("", skipped) => Cell::toned(Tone::Odd, &format!("ok, {skipped} left out")),
            (damage, _) => Cell::toned(Tone::Bad, &format!("damaged: {damage}")),
        };
        table.row(vec![
            one.number.to_string().into(),
            one.time.as_str().into(),
            count(one.entries as u64).into(),
            size::format(one.bytes).into(),
            duration(one.frozen_seconds).into(),
            state,
        ]);
    }
    page.push_str(&table.render(look));
    page
}
