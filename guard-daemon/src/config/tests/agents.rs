//! Agents: what is read, and what is refused.

use std::time::Duration;

use super::*;
use crate::supervise::Restart;

const AROUND: &str = "[bulkheads.b]\n[retry_policies.slow]\nmax_retries = 2\nbackoff = \"fixed\"\n\
                      initial_delay = \"7s\"\n";

#[test]
fn an_agent_with_and_without_its_defaults() {
    let text = format!(
        "{AROUND}[agents.b]\ncommand = [\"/bin/agent\"]\n[agents.c]\nbulkhead = \"b\"\n\
         command = [\"/bin/agent\", \"-x\"]\nrestart = \"always\"\nrestart_policy = \"slow\"\n\
         after = [\"b\"]\nenvironment = {{ A = \"1=2\", B = \"\" }}\n\
         [agents.c.checkpoint]\npaths = [\"/srv/c\"]\nrestore = \"never\"\n"
    );
    let plan = parse("guard.toml", &text).unwrap().plan;
    let [b, c] = plan.agents.as_slice() else { panic!("{:?}", plan.agents) };
    assert_eq!((b.bulkhead.as_str(), b.policy.restart), ("b", Restart::OnFailure));
    assert_eq!((b.policy.limit, b.policy.max_delay), (5, Duration::from_mins(1)));
    assert_eq!((&b.health, &b.checkpoint, b.stop.signal.as_str()), (&None, &None, "SIGTERM"));
    assert_eq!((c.policy.restart, c.policy.limit), (Restart::Always, 2));
    assert_eq!(c.policy.delay, Duration::from_secs(7));
    assert_eq!(c.policy.max_delay, c.policy.delay, "fixed");
    assert_eq!(c.environment["A"], "1=2");
    let checkpoint = c.checkpoint.as_ref().unwrap();
    assert!(checkpoint.verify && !checkpoint.restore_on_crash && checkpoint.keep == 5);
}

#[test]
fn what_cannot_work_is_said_at_its_place() {
    for (agents, wanted) in [
        ("[agents.x]\ncommand = [\"/a\"]\n", "there is no bulkhead `x`"),
        ("[agents.b]\ncommand = [\"a\"]\n", "absolute path"),
        ("[agents.b]\ncommand = [\"/a\"]\nafter = [\"bb\"]\n", "there is no agent `bb`"),
        ("[agents.b]\ncommand = [\"/a\"]\nafter = [\"b\"]\n", "waits for itself"),
        (
            "[agents.b]\ncommand = [\"/a\"]\nafter = [\"c\"]\n[agents.c]\nbulkhead = \"b\"\n\
             command = [\"/a\"]\nafter = [\"b\"]\n",
            "agent c waits for itself",
        ),
        ("[agents.b]\ncommand = [\"/a\"]\nrestart_policy = \"sloww\"\n", "no retry policy `sloww`"),
        ("[agents.b]\ncommand = [\"/a\"]\nrestart_delay = \"2m\"\n", "longest pause is below"),
        (
            "[agents.b]\ncommand = [\"/a\"]\nenvironment = { \"A B\" = \"\" }\n",
            "name of a variable",
        ),
        ("[agents.b]\ncommand = [\"/a\"]\nenvironment = { A = 1 }\n", "must be a text"),
        ("[agents.b]\ncommand = [\"/a\"]\ncheckpoint = { paths = [] }\n", "is empty"),
        ("[agents.b]\ncommand = [\"/a\"]\ncheckpoint = { paths = [\"s\"] }\n", "absolute path"),
        (
            "[agents.b]\ncommand = [\"/a\"]\ncheckpoint = { paths = [\"/var/lib/guard/x\"] }\n",
            "would save itself",
        ),
        (
            "[agents.b]\ncommand = [\"/a\"]\ncheckpoint = { paths = [\"/var/lib\"] }\n",
            "save itself",
        ),
        (
            "[agents.b]\ncommand = [\"/a\"]\ncheckpoint = { paths = [\"/s\", \"/s/t\"] }\n",
            "lie in each other",
        ),
        (
            "[agents.b]\ncommand = [\"/a\"]\ncheckpoint = { paths = [\"/s\"], exclude = [\"[\"] }\n",
            "bad pattern",
        ),
    ] {
        let errors = errors(&format!("{AROUND}{agents}"));
        assert!(errors.contains(wanted), "{agents}{wanted}\n{errors}");
    }
}

#[test]
fn a_user_of_another_host_is_a_warning() {
    let text = format!("{AROUND}[agents.b]\ncommand = [\"/a\"]\nuser = \"no-such-user\"\n");
    let loaded = parse("guard.toml", &text).unwrap();
    assert!(loaded.warnings.iter().any(|w| w.key == "agents.b.user"), "{:?}", loaded.warnings);
}
