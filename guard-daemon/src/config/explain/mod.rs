//! Answers for `guardctl explain TOPIC`: keys, service classes, states of waits, outcomes, exit
//! codes. Words only: it asks no daemon and reads no file.

use std::fmt;

use serde::Serialize;

mod classes;
mod codes;
mod keys;
mod outcomes;
mod waits;

use super::text::suggest;

/// What is known about one topic. `"schema": "guard.explain/1"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topic {
    /// `guard.explain/1`.
    pub schema: &'static str,
    /// Its name: a key path, a class, a state, an outcome, `exit-codes`.
    pub name: String,
    /// `key`, `class`, `wait`, `outcome` or `exit-codes`.
    pub kind: &'static str,
    /// What it is, one or more sentences.
    pub summary: String,
    /// Name and value, in the order to show them.
    pub facts: Vec<Fact>,
    /// What to do about it; empty if nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
    /// A piece of configuration; empty if none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub example: String,
}

/// One line of a [`Topic`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What: `default`, `range`, …
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A topic that does not exist, or a short name that more than one key has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct UnknownTopic {
    /// What was asked for.
    pub asked: String,
    /// Whether the suggestions are all meant by what was asked.
    pub ambiguous: bool,
    /// What may have been meant, the likeliest first; may be empty.
    pub suggestions: Vec<String>,
}

impl fmt::Display for UnknownTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.suggestions.join(", ");
        if self.ambiguous {
            write!(f, "`{}` is the name of more than one key: {list}", self.asked)
        } else if self.suggestions.is_empty() {
            write!(
                f,
                "nothing is known about `{}`: name a key, a class, a state, an outcome, or exit-codes",
                self.asked
            )
        } else {
            write!(f, "nothing is known about `{}`; did you mean: {list}?", self.asked)
        }
    }
}

/// The text of a topic; `None` if it does not exist or is ambiguous ([`lookup`] says which).
pub fn explain(topic: &str) -> Option<String> {
    lookup(topic).ok().map(|t| t.to_string())
}

/// Finds a topic: a key path (with placeholders or real names), the end of one, a class, a state
/// of a wait, an outcome, `exit-codes`. Errors with suggestions.
pub fn lookup(asked: &str) -> Result<Topic, UnknownTopic> {
    let asked = asked.trim().trim_matches('`');
    let word = asked.to_lowercase();
    // Words of guard before ends of keys: `reset` is an outcome.
    if let Some(topic) = words().into_iter().find(|t| t.name == word.replace(' ', "-")) {
        return Ok(topic);
    }
    let found = keys::find(asked);
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            let all = topics();
            let near = suggest::several(&word, all.iter().map(String::as_str), 5);
            let suggestions = near.into_iter().map(str::to_owned).collect();
            Err(UnknownTopic { asked: asked.into(), ambiguous: false, suggestions })
        }
        several => {
            let suggestions = several.iter().map(|t| t.name.clone()).collect();
            Err(UnknownTopic { asked: asked.into(), ambiguous: true, suggestions })
        }
    }
}

/// Names of all topics, for completion: words first, then key paths.
pub fn topics() -> Vec<String> {
    let mut keys = super::schema::entries();
    keys.extend(super::schema::drill_entries());
    let keys = keys.into_iter().map(|e| e.path);
    words().into_iter().map(|t| t.name).chain(keys).collect()
}

fn words() -> Vec<Topic> {
    let mut all = classes::all();
    all.extend(waits::all());
    all.extend(outcomes::all());
    all.push(codes::exit_codes());
    all
}

impl Topic {
    fn new(kind: &'static str, name: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            schema: "guard.explain/1",
            name: name.into(),
            kind,
            summary: summary.into(),
            facts: Vec::new(),
            advice: String::new(),
            example: String::new(),
        }
    }

    fn fact(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.facts.push(Fact { name: name.into(), value: value.into() });
        self
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}

/// For a terminal of 80 columns or more; plain ASCII but for quoted names.
impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})\n", self.name, self.kind.replace('-', " "))?;
        for line in wrap(&self.summary, 76) {
            writeln!(f, "  {line}")?;
        }
        let width = self.facts.iter().map(|fact| fact.name.len()).max().unwrap_or(0);
        if !self.facts.is_empty() {
            writeln!(f)?;
        }
        for fact in &self.facts {
            let mut lines = wrap(&fact.value, 74 - width.min(40)).into_iter();
            writeln!(f, "  {:width$}  {}", fact.name, lines.next().unwrap_or_default())?;
            for line in lines {
                writeln!(f, "  {:width$}  {line}", "")?;
            }
        }
        if !self.advice.is_empty() {
            writeln!(f, "\n  What to do:")?;
            for line in wrap(&self.advice, 76) {
                writeln!(f, "  {line}")?;
            }
        }
        if !self.example.is_empty() {
            writeln!(f, "\n  Example:")?;
            for line in self.example.lines() {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests;
