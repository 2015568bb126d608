//! The drill as an experiment of the journal's format. The whole drill is in `extensions`, as it
//! was run; what is shown of it in reports is made fit for their front matter first.

use serde::Serialize;

use super::super::words::{self, one_line};
use super::activity::{self, Activity};
use crate::drill::{Drill, Record};

#[derive(Serialize)]
pub(super) struct Experiment<'a> {
    version: &'static str,
    title: String,
    description: String,
    tags: [&'static str; 2],
    configuration: Empty,
    secrets: Empty,
    extensions: [Extension<'a>; 1],
    #[serde(rename = "steady-state-hypothesis")]
    hypothesis: Hypothesis,
    method: Vec<Activity>,
    rollbacks: [Activity; 1],
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Extension<'a> {
    name: &'static str,
    drill: &'a Drill,
    seed: u64,
}

#[derive(Serialize)]
struct Hypothesis {
    title: String,
    probes: Vec<Activity>,
}

impl<'a> Experiment<'a> {
    /// Of a run.
    pub(super) fn of(record: &'a Record) -> Self {
        let drill = &record.drill;
        Self {
            version: "1.0.0",
            title: front_matter(&drill.name, "drill"),
            description: description(record),
            tags: ["guard", "drill"],
            configuration: Empty {},
            secrets: Empty {},
            extensions: [Extension { name: "guard", drill, seed: record.seed }],
            hypothesis: Hypothesis {
                title: format!("the steady state of {} holds", front_matter(&drill.name, "drill")),
                probes: drill.steady_state.iter().map(activity::steady_state).collect(),
            },
            method: method(record),
            rollbacks: [clear()],
        }
    }
}

/// One action for each fault, in guardd's words where the plan has them.
pub(super) fn method(record: &Record) -> Vec<Activity> {
    let faults = &record.drill.faults;
    let planned = &record.plan.faults;
    let of = |at: usize| {
        let fault = &faults[at];
        let effect = planned
            .get(at)
            .filter(|plan| planned.len() == faults.len() && plan.bulkhead == fault.bulkhead)
            .map_or_else(|| activity::effect(fault), |plan| plan.effect.clone());
        activity::inject(&effect, fault)
    };
    (0..faults.len()).map(of).collect()
}

/// What ends every fault.
pub(super) fn clear() -> Activity {
    activity::action("clear faults", activity::guardctl(&["fault", "clear", "--all"]))
}

fn description(record: &Record) -> String {
    let drill = &record.drill;
    if !one_line(&drill.purpose).is_empty() {
        return front_matter(&drill.purpose, "Purpose");
    }
    let faults: Vec<String> = if record.plan.faults.is_empty() {
        drill.faults.iter().map(activity::effect).collect()
    } else {
        record.plan.faults.iter().map(words::planned).collect()
    };
    let states: Vec<&str> = drill.steady_state.iter().map(|state| state.name.as_str()).collect();
    let sentence = format!(
        "Does the steady state hold ({}) under these faults ({})?",
        states.join(", "),
        faults.join(", ")
    );
    front_matter(&sentence, "Purpose")
}

/// A text that YAML takes for a plain scalar: reports put it in front of a page without quoting,
/// and fail on a colon or a bracket. Never empty.
fn front_matter(text: &str, otherwise: &str) -> String {
    let text = one_line(text).replace(": ", " - ").replace(" #", " ");
    let text = text.trim_end_matches([':', ' ']);
    match text.chars().next() {
        None => otherwise.to_owned(),
        Some(first) if first.is_alphanumeric() => text.to_owned(),
        Some(_) => format!("{otherwise} - {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::front_matter;

    #[test]
    fn yaml_takes_it_for_a_plain_scalar() {
        let shown = |text| front_matter(text, "Purpose");
        assert_eq!(shown("weekly drill; owner: sre"), "weekly drill; owner - sre");
        assert_eq!(shown("  \n "), "Purpose");
        assert_eq!(shown("[a] \"b\""), "Purpose - [a] \"b\"");
        assert_eq!(shown("- a\n- b:"), "Purpose - - a - b");
        assert_eq!(shown("issue #4"), "issue 4");
        assert_eq!(shown(":"), "Purpose");
    }
}
