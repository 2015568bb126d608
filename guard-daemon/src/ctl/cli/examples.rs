//! Two examples for the help of each command. A test parses every one of them, so none can
//! go stale.

pub(super) const GUARDCTL: &str = "\
Examples:
  guardctl waits
  guardctl fault inject --bulkhead research --service github --for 30s --latency 300ms

Exit codes: 0 done, 1 the answer is no, 2 bad usage or input, 3 cleanup incomplete,
4 no daemon, 5 inconclusive; `exec`: 125 guard failed, 126 and 127 as env(1).";

pub(super) const CHECK: &str = "\
Examples:
  guardctl check /etc/guard/guard.toml
  guardctl check --json configs/guard.toml configs/drills/slow.toml

Exit codes: 0 valid, 2 not.";

pub(super) const DOCTOR: &str = "\
Examples:
  guardctl doctor
  guardctl doctor --json | jq '.checks[] | select(.result != \"ok\")'

Exit codes: 0 no failure, 1 at least one. Without a daemon it checks what it can.";

pub(super) const STATUS: &str = "\
Examples:
  guardctl status
  guardctl status --json | jq '.bulkheads[] | {name, connections}'";

pub(super) const TOP: &str = "\
Examples:
  guardctl top
  guardctl top --interval 0.5";

pub(super) const WAITS: &str = "\
Examples:
  guardctl waits
  guardctl waits --json | jq '.waits[] | select(.seconds > 60)'";

pub(super) const EVENTS: &str = "\
Examples:
  guardctl events --bulkhead research --kind connect_failed --limit 20
  guardctl events --follow --json | jq -r .message";

pub(super) const EXPLAIN: &str = "\
Examples:
  guardctl explain daemon.fault_lease
  guardctl explain response_timeout";

pub(super) const EXEC: &str = "\
Examples:
  guardctl exec research -- python3 agent.py --model small
  guardctl exec --user alice --sub=tests research -- make test

The command takes the place of guardctl: same pid, terminal, environment and directory.
Exit codes: those of CMD; 125 guard failed, 126 CMD cannot run, 127 CMD not found.";

pub(super) const MOVE: &str = "\
Examples:
  guardctl move research 4711
  guardctl move --tree research 4711

Children started later stay in the bulkhead; those that run already need --tree.";

pub(super) const BREAKER: &str = "\
Examples:
  guardctl breaker list
  guardctl breaker reset research/github";

pub(super) const BUDGET: &str = "\
Examples:
  guardctl budget list
  guardctl budget release research";

pub(super) const BUDGET_LIST: &str = "\
Examples:
  guardctl budget list
  guardctl budget list --json | jq '.budgets[] | select(.state == \"exhausted\")'";

pub(super) const BUDGET_RELEASE: &str = "\
Examples:
  guardctl budget release research
  guardctl budget release research --json";

pub(super) const BREAKER_LIST: &str = "\
Examples:
  guardctl breaker list
  guardctl breaker list --json | jq '.breakers[] | select(.state != \"closed\")'";

pub(super) const BREAKER_TRIP: &str = "\
Examples:
  guardctl breaker trip research/github
  guardctl breaker trip research/github --json

It lets a probe through after its open_timeout. To keep it open: breaker mode ... force_open";

pub(super) const BREAKER_RESET: &str = "\
Examples:
  guardctl breaker reset research/github
  guardctl breaker reset research/github --json";

pub(super) const BREAKER_MODE: &str = "\
Examples:
  guardctl breaker mode research/github monitor
  guardctl breaker mode research/github enforce";

pub(super) const FAULT: &str = "\
Examples:
  guardctl fault list
  guardctl fault inject --bulkhead research --service github --for 1m --loss 2%";

pub(super) const FAULT_INJECT: &str = "\
Examples:
  guardctl fault inject --bulkhead research --service github --for 30s --latency 300ms
  guardctl fault inject --bulkhead research --service github --for 1m --refuse 10% --wait

Times need a unit (300ms, 30s, 5m), shares a percent sign. A fault ends by itself, also when
guardd is killed. To end all at once: guardctl halt REASON";

pub(super) const FAULT_LIST: &str = "\
Examples:
  guardctl fault list
  guardctl fault list --json | jq '.faults[].counters'";

pub(super) const FAULT_CLEAR: &str = "\
Examples:
  guardctl fault clear 3
  guardctl fault clear --all";

pub(super) const DRILL: &str = "\
Examples:
  guardctl drill run github-brownout.toml --dry-run
  guardctl drill run github-brownout.toml --out results";

pub(super) const DRILL_RUN: &str = "\
Examples:
  guardctl drill run github-brownout.toml --dry-run
  guardctl drill run github-brownout.toml --out results --seed 42 --detach

Its faults end with their time, with this command, with guardd and with guardctl halt. With
--detach they end with the process of its own, and with guardctl drill abort.
Exit codes: 0 held, 1 deviated or aborted, 2 not a valid drill, 3 something is left on the
host, 4 no daemon, 5 inconclusive (no traffic matched, too few calls, interrupted).";

pub(super) const DRILL_LIST: &str = "\
Examples:
  guardctl drill list
  guardctl drill list --json | jq '.drills[].faults'";

pub(super) const DRILL_ABORT: &str = "\
Examples:
  guardctl drill abort
  guardctl drill abort --json";

pub(super) const HALT: &str = "\
Examples:
  guardctl halt real incident, see ticket 4711
  guardctl halt --json 'provider is down'";

pub(super) const RESUME: &str = "\
Examples:
  guardctl resume
  guardctl resume --json";

pub(super) const RELOAD: &str = "\
Examples:
  guardctl reload --dry-run
  guardctl reload";

pub(super) const CLEANUP: &str = "\
Examples:
  guardctl cleanup
  guardctl cleanup --state-dir /var/lib/guard --json

Exit codes: 0 nothing is left, 2 a guardd runs, 3 something is left (it is named).";

pub(super) const COMPLETIONS: &str = "\
Examples:
  guardctl completions bash > /usr/share/bash-completion/completions/guardctl
  guardctl completions fish > ~/.config/fish/completions/guardctl.fish";

pub(super) const VERSION: &str = "\
Examples:
  guardctl version
  guardctl version --json";

pub(super) const INCIDENTS: &str = "\
Examples:
  guardctl incidents --active
  guardctl incidents 12 --json | jq '.incidents[].timeline'";

pub(super) const RECOVER: &str = "\
Examples:
  guardctl recover github-degraded --dry-run
  guardctl recover success-rate --bulkhead research --service github

Runs the rule's steps now, until one has helped. Exit codes: 0 done, 1 it did not help.";

pub(super) const POLICY: &str = "\
Examples:
  guardctl policy --json
  guardctl policy --env";

pub(super) const AGENT: &str = "\
Examples:
  guardctl agent list
  guardctl agent restart research";

pub(super) const AGENT_LIST: &str = "\
Examples:
  guardctl agent list
  guardctl agent list --json | jq '.agents[] | select(.state == \"failed\") | .name'";

pub(super) const AGENT_START: &str = "\
Examples:
  guardctl agent start research
  guardctl agent start research --json";

pub(super) const AGENT_STOP: &str = "\
Examples:
  guardctl agent stop research
  guardctl agent stop --all";

pub(super) const AGENT_RESTART: &str = "\
Examples:
  guardctl agent restart research
  guardctl agent restart research --json";

pub(super) const CHECKPOINT: &str = "\
Examples:
  guardctl checkpoint save research
  guardctl checkpoint restore research";

pub(super) const CHECKPOINT_SAVE: &str = "\
Examples:
  guardctl checkpoint save research
  guardctl checkpoint save research --json | jq .checkpoints[0].frozen_seconds";

pub(super) const CHECKPOINT_LIST: &str = "\
Examples:
  guardctl checkpoint list research
  guardctl checkpoint list research --json";

pub(super) const CHECKPOINT_RESTORE: &str = "\
Examples:
  guardctl checkpoint restore research
  guardctl checkpoint restore research --number 7";

pub(super) const HOOK: &str = "\
Examples:
  guardctl hook -- /usr/local/bin/clear-cache github
  guardctl hook --cgroup /sys/fs/cgroup/guard-hooks/hook-1-1 --user nobody -- /usr/local/bin/clear-cache";

pub(super) const SUPERVISE: &str = "\
Examples:
  guardctl supervise /var/lib/guard/agents/research.spec
  guardctl --socket /run/guard/guardd.sock supervise /var/lib/guard/agents/research.spec";
