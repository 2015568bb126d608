//! What a reload changes in agents.

use crate::plan::{AgentPlan, Plan};

/// Lines for the agents that differ.
pub(super) fn agents(old: &Plan, new: &Plan, lines: &mut Vec<String>) {
    let find = |plan: &'_ Plan, name: &str| -> Option<AgentPlan> {
        plan.agents.iter().find(|agent| agent.name == name).cloned()
    };
    for gone in old.agents.iter().filter(|agent| find(new, &agent.name).is_none()) {
        lines.push(format!("agent {} removed: it is stopped", gone.name));
    }
    for agent in &new.agents {
        let name = &agent.name;
        match find(old, name) {
            None => lines.push(format!("agent {name} added: it is started")),
            Some(before) if before != *agent => lines.push(format!(
                "agent {name} changed: its checkpoints at once, the rest with guardctl agent \
                 restart {name}"
            )),
            Some(_) => {}
        }
    }
}
