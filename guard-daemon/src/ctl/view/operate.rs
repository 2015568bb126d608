//! `guardctl move`, `reload`, `resume`, `cleanup`: what was done.

use serde::{Deserialize, Serialize};

use super::look::{Look, Tone};
use super::text::{clean, counted, wrap};
use crate::control::api::{Done, Joined, Reloaded};

/// What `cleanup` did. `"schema": "guard.cleanup/1"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::ctl) struct Cleaned {
    /// `guard.cleanup/1`.
    pub(in crate::ctl) schema: String,
    /// What was removed, one line each.
    pub(in crate::ctl) removed: Vec<String>,
    /// What could not be removed, one line each, with reason and cure.
    pub(in crate::ctl) left: Vec<String>,
}

/// `move`.
pub(in crate::ctl) fn joined(bulkhead: &str, answer: &Joined) -> String {
    let processes = counted(answer.moved.len(), "process", "processes");
    format!("moved {processes} into {} ({})\n", clean(bulkhead), clean(&answer.cgroup))
}

/// `resume`.
pub(in crate::ctl) fn done(answer: &Done) -> String {
    format!("{}\n", clean(&answer.message))
}

/// `reload`.
pub(in crate::ctl) fn reloaded(answer: &Reloaded, dry_run: bool, look: &Look) -> String {
    let mut page = String::new();
    let mut line = |mark: &str, tone: Tone, text: &str| {
        let text = wrap(&clean(text), 2, look.width);
        page.push_str(&format!("{} {text}\n", look.paint(tone, mark)));
    };
    for change in &answer.changes {
        line("*", Tone::Plain, change);
    }
    for key in &answer.needs_restart {
        line("!", Tone::Odd, &format!("{key}: takes effect with a restart of guardd only"));
    }
    for warning in &answer.warnings {
        line("!", Tone::Odd, warning);
    }
    let changes = answer.changes.len() + answer.needs_restart.len();
    let verb = if dry_run { "would be made, nothing applied" } else { "made" };
    page.push_str(&match (changes, dry_run) {
        (0, _) => "nothing changed\n".to_owned(),
        (_, true) => format!("{} {verb}\n", counted(changes, "change", "changes")),
        (_, false) => format!(
            "reloaded: {} {verb}, {} for a restart\n",
            counted(answer.changes.len(), "change", "changes"),
            answer.needs_restart.len()
        ),
    });
    page
}

/// `cleanup`.
pub(in crate::ctl) fn cleaned(answer: &Cleaned, exit_code: u8, look: &Look) -> String {
    let mut page = String::new();
    for line in &answer.left {
        let line = wrap(&clean(line), 6, look.width);
        page.push_str(&format!("{}  {line}\n", look.paint(Tone::Bad, "LEFT")));
    }
    for line in &answer.removed {
        page.push_str(&format!("ok    removed {}\n", wrap(&clean(line), 6, look.width)));
    }
    page.push_str(&match (answer.removed.len(), answer.left.len()) {
        (0, 0) => "nothing of guard is on this host\n".to_owned(),
        (removed, left) => format!("{removed} removed, {left} left   exit {exit_code}\n"),
    });
    page
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;

    fn reload(changes: &[&str], needs_restart: &[&str]) -> Reloaded {
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        Reloaded {
            schema: "guard.reload/1".into(),
            changes: owned(changes),
            needs_restart: owned(needs_restart),
            warnings: vec![],
        }
    }

    #[test]
    fn reloads() {
        let answer = reload(&["services.github: 1 endpoint added"], &["daemon.metrics_listen"]);
        insta::assert_snapshot!(reloaded(&answer, false, &plain()), @"
    * services.github: 1 endpoint added
    ! daemon.metrics_listen: takes effect with a restart of guardd only
    reloaded: 1 change made, 1 for a restart
    ");
        insta::assert_snapshot!(reloaded(&answer, true, &plain()), @"
    * services.github: 1 endpoint added
    ! daemon.metrics_listen: takes effect with a restart of guardd only
    2 changes would be made, nothing applied
    ");
        assert_eq!(reloaded(&reload(&[], &[]), true, &plain()), "nothing changed\n");
    }

    #[test]
    fn moves() {
        let answer = Joined {
            schema: "guard.joined/1".into(),
            cgroup: "/sys/fs/cgroup/agents/research".into(),
            moved: vec![4711],
        };
        assert_eq!(
            joined("research", &answer),
            "moved 1 process into research (/sys/fs/cgroup/agents/research)\n"
        );
    }

    #[test]
    fn cleanups() {
        let mut answer =
            Cleaned { schema: "guard.cleanup/1".into(), removed: vec![], left: vec![] };
        assert_eq!(cleaned(&answer, 0, &plain()), "nothing of guard is on this host\n");
        answer.removed.push("cgroup /sys/fs/cgroup/agents/research".into());
        answer.left.push("cgroup /sys/fs/cgroup/agents/writing: has processes; end them".into());
        insta::assert_snapshot!(cleaned(&answer, 3, &plain()), @"
    LEFT  cgroup /sys/fs/cgroup/agents/writing: has processes; end them
    ok    removed cgroup /sys/fs/cgroup/agents/research
    1 removed, 1 left   exit 3
    ");
    }
}
