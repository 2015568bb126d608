//! Budgets at work: counters into accounts, and what a budget that is used up does.
//!
//! Data: the hooks' counters → accounts → `blocked` in the kernel's slots of limits, idle
//! connections cut, events, `budgets.json`. guardd looks every half second, so that a bulkhead may
//! use up more than its budget by what it can in that time. Without guardd nothing is blocked for
//! longer than breakers act.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use guard_common::abi::ids::PairKey;
use guard_common::abi::limits::SERVICE_ALL;
use guard_common::abi::outcome::Outcome;
use guard_common::abi::stats::PairStats;

use super::cutting::Cut;
use super::state::{Guard, State};
use crate::budget::{Account, Amount, Amounts, Change, Memory, Remembered};
use crate::cgroup::limits;
use crate::config::text::size;
use crate::control::Peer;
use crate::control::api::{BudgetAmount, BudgetRecord, Budgets as Listed, ErrorBody};
use crate::kernel::Counters;
use crate::observe::{SharedIds, with_ids};
use crate::plan::{BudgetPlan, OnExhausted, Plan};

/// How often accounts are written down while they change. A guardd that is killed forgets what was
/// used since.
const SAVE: Duration = Duration::from_secs(5);

/// All accounts, by bulkhead in the order of its budgets.
#[derive(Debug)]
pub(crate) struct Budgets {
    accounts: BTreeMap<String, Vec<(BudgetPlan, Account)>>,
    /// What an earlier guardd wrote, for accounts that are not there yet.
    memory: Memory,
    saved: Memory,
    save_at: Instant,
    /// Pairs (or whole bulkheads) that are blocked.
    blocked: BTreeSet<PairKey>,
    /// Bulkheads whose processes shall stop.
    frozen: BTreeSet<String>,
    /// Counters at the last look; empty before the first.
    counters: BTreeMap<PairKey, Amounts>,
}

impl Budgets {
    /// What an earlier guardd left.
    pub(super) fn load(state_dir: &Path) -> Self {
        let memory = Memory::read(state_dir).unwrap_or_else(|error| {
            let path = state_dir.display();
            tracing::warn!(%path, %error, "budgets.json is not readable: budgets begin afresh");
            Memory::default()
        });
        Self {
            accounts: BTreeMap::new(),
            memory,
            saved: Memory::default(),
            save_at: Instant::now(),
            blocked: BTreeSet::new(),
            frozen: BTreeSet::new(),
            counters: BTreeMap::new(),
        }
    }

    /// Whether there is anything to look at or to take back.
    pub(super) fn any(&self) -> bool {
        !self.accounts.is_empty() || !self.blocked.is_empty() || !self.frozen.is_empty()
    }

    /// Whether nothing new of this pair, or bulkhead as a whole, may begin.
    pub(super) fn blocks(&self, pair: PairKey) -> bool {
        self.blocked.contains(&pair)
    }

    /// Bulkheads whose budgets say that their processes stop now.
    pub(super) fn freezing(&self) -> impl Iterator<Item = &str> {
        let freezes = |(plan, account): &(BudgetPlan, Account)| {
            account.acts() && plan.on_exhausted == OnExhausted::Freeze
        };
        let each = self.accounts.iter().filter(move |(_, budgets)| budgets.iter().any(freezes));
        each.map(|(name, _)| name.as_str())
    }

    /// Accounts for the budgets of the plan, and no others. What was used stays used.
    fn follow(&mut self, plan: &Plan) {
        let known = self.remembered();
        let memory = Memory { accounts: [known.accounts, self.memory.accounts.clone()].concat() };
        let with_account = |name: &str, budgets: &[BudgetPlan]| {
            let account = |plan: &BudgetPlan| {
                let mut account = memory.account(name, plan);
                account.reconsider(plan);
                (plan.clone(), account)
            };
            budgets.iter().map(account).collect()
        };
        let all = plan.limits.budgets.iter();
        self.accounts = all.map(|(name, b)| (name.clone(), with_account(name, b))).collect();
    }

    fn remembered(&self) -> Memory {
        let each = self.accounts.iter().flat_map(|(bulkhead, budgets)| {
            budgets.iter().map(|(plan, account)| Remembered {
                bulkhead: bulkhead.clone(),
                per_seconds: plan.per.as_secs(),
                services: plan.services.clone(),
                account: account.clone(),
            })
        });
        Memory { accounts: each.collect() }
    }

    /// Writes the accounts down, if they have changed and it is time, or `now`.
    fn save(&mut self, state_dir: &Path, now: bool) {
        if !now && Instant::now() < self.save_at {
            return;
        }
        let memory = self.remembered();
        if memory == self.saved {
            return;
        }
        self.save_at = Instant::now() + SAVE;
        match memory.write(state_dir) {
            Ok(()) => self.saved = memory,
            Err(error) => {
                let path = state_dir.display();
                tracing::error!(%path, %error, "a restart would give fresh budgets");
            }
        }
    }
}

/// What a budget counts of a pair's counters.
fn amounts(stats: &PairStats) -> Amounts {
    let rejected = stats.calls_of(Outcome::Rejected);
    let calls: u64 = Outcome::ALL.into_iter().map(|outcome| stats.calls_of(outcome)).sum();
    Amounts {
        bytes: stats.sent_bytes.saturating_add(stats.received_bytes),
        calls: calls.saturating_sub(rejected),
        connects: stats.connects.saturating_sub(rejected),
    }
}

impl State {
    /// Counters of what a budget is about: of the bulkhead and of those inside it. `seen` is what the
    /// account knows. Which bulkheads lie inside may have changed since, so that it goes on from there
    /// with what each pair has added.
    fn used_of(
        &self,
        ids: &SharedIds,
        counters: &BTreeMap<PairKey, Amounts>,
        name: &str,
        plan: &BudgetPlan,
        seen: Option<Amounts>,
    ) -> Amounts {
        let Some(live) = self.bulkheads.get(name) else { return Amounts::default() };
        let inner = self.inner_ids(name);
        let seen = seen.filter(|_| !self.budgets.counters.is_empty());
        with_ids(ids, |ids| {
            let its = counters.iter().filter(|(pair, _)| {
                let service = ids.service_name(pair.service);
                (pair.bulkhead == live.id || inner.contains(&pair.bulkhead))
                    && (plan.services.is_empty() || plan.services.iter().any(|s| s == service))
            });
            let more = |(pair, now): (&PairKey, &Amounts)| match self.budgets.counters.get(pair) {
                Some(before) if seen.is_some() => now.since(*before),
                _ => *now,
            };
            its.map(more).fold(seen.unwrap_or_default(), Amounts::plus)
        })
    }

    /// The same pairs, and those of the bulkheads inside.
    fn with_inner(&self, blocked: &BTreeSet<PairKey>) -> BTreeSet<PairKey> {
        let mut all = blocked.clone();
        for (name, live) in &self.bulkheads {
            let own: Vec<_> = blocked.iter().filter(|pair| pair.bulkhead == live.id).collect();
            if own.is_empty() {
                continue;
            }
            for bulkhead in self.inner_ids(name) {
                all.extend(own.iter().map(|pair| PairKey { bulkhead, ..**pair }));
            }
        }
        all
    }

    /// Pairs, or bulkheads as a whole, that budgets block now.
    fn blocked_now(&self, ids: &SharedIds) -> BTreeSet<PairKey> {
        let mut blocked = BTreeSet::new();
        for (name, budgets) in &self.budgets.accounts {
            let Some(live) = self.bulkheads.get(name) else { continue };
            let acting = budgets
                .iter()
                .filter(|(plan, account)| account.acts() && plan.on_exhausted != OnExhausted::Warn);
            for (plan, _) in acting {
                if plan.services.is_empty() {
                    blocked.insert(PairKey { bulkhead: live.id, service: SERVICE_ALL });
                }
                let mut ids = ids.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                blocked.extend(
                    plan.services.iter().map(|service| PairKey {
                        bulkhead: live.id,
                        service: ids.service(service),
                    }),
                );
            }
        }
        blocked
    }

    /// Who in a bulkhead serves others too, so that it must be neither frozen nor killed.
    pub(super) fn shared_by(&self, name: &str) -> Option<String> {
        let live = self.bulkheads.get(name)?;
        let shared = live.cgroup.shared_infrastructure().unwrap_or_default();
        let (pid, command) = shared.first()?;
        Some(format!("process {pid} ({command}) in it serves others too"))
    }

    /// Applies the plan's budgets: at the start and at each reload.
    pub(super) fn follow_budgets(&mut self) {
        self.budgets.follow(&self.plan);
    }

    /// Writes the accounts down, at the end.
    pub(super) fn save_budgets(&mut self) {
        self.budgets.save(&self.plan.daemon.state_dir, true);
    }
}

impl Guard {
    /// Looks at all accounts, and acts on what has changed.
    pub(super) fn watch_budgets(&self, state: &mut State, counters: &Counters) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let counters = counters.iter().map(|(pair, stats)| (*pair, amounts(stats))).collect();
        let mut told = Vec::new();
        let mut accounts = std::mem::take(&mut state.budgets.accounts);
        for (name, budgets) in &mut accounts {
            for (plan, account) in budgets {
                let used = state.used_of(&self.ids, &counters, name, plan, account.seen());
                let changes = account.look(plan, used, now);
                told.extend(changes.into_iter().map(|change| (name.clone(), plan.clone(), change)));
            }
        }
        state.budgets.accounts = accounts;
        state.budgets.counters = counters;
        for (bulkhead, plan, change) in told {
            self.tell_budget(&bulkhead, &plan, change);
        }
        self.apply_blocks(state);
        self.apply_freezes(state);
        state.budgets.save(&state.plan.daemon.state_dir, false);
    }

    /// Blocks and unblocks as the accounts say, and cuts the idle connections of what is blocked:
    /// calls on them would pass.
    fn apply_blocks(&self, state: &mut State) {
        let blocked = state.blocked_now(&self.ids);
        if blocked != state.budgets.blocked {
            state.budgets.blocked.clone_from(&blocked);
            if let Err(error) = state.write_breakers(&self.ids) {
                tracing::error!(%error, "a budget's block did not reach the kernel");
            }
        }
        if !blocked.is_empty() {
            self.order_cut(Cut::Budget(state.with_inner(&blocked)));
        }
    }

    /// Stops the processes of bulkheads whose budget says so, and lets them go on afterwards.
    fn apply_freezes(&self, state: &mut State) {
        let acts = !state.monitor();
        let wanted: BTreeSet<String> =
            state.budgets.freezing().filter(|_| acts).map(str::to_owned).collect();
        let before = std::mem::replace(&mut state.budgets.frozen, wanted.clone());
        for name in wanted.symmetric_difference(&before) {
            let Some(plan) = state.plan.bulkhead(name).cloned() else { continue };
            let freeze = limits::frozen();
            if wanted.contains(name) {
                if let Some(why) = state.shared_by(name) {
                    tracing::warn!(bulkhead = name, why, "a budget freezes nothing");
                    self.events.note("budget_freeze_skipped", |event| {
                        event.bulkhead.clone_from(name);
                        event.message = why;
                    });
                    continue;
                }
                state.limits.press(name, freeze);
            } else if let Some(pressing) = state.limits.pressing.get_mut(name) {
                pressing.retain(|setting| setting.file != freeze.file);
            }
            self.set_limits_of(state, &plan);
        }
    }

    fn tell_budget(&self, bulkhead: &str, plan: &BudgetPlan, change: Change) {
        let (kind, message) = match change {
            Change::Period(false) => return,
            Change::Period(true) => ("budget_period", format!("{}: a new period", title(plan))),
            Change::Warned(amount) => {
                ("budget_warning", format!("{}: {}", title(plan), show(&amount)))
            }
            Change::Exhausted(amount) => {
                let then = match plan.on_exhausted {
                    OnExhausted::Block => "new calls are refused",
                    OnExhausted::Freeze => "new calls are refused, processes stop",
                    OnExhausted::Warn => "nothing is refused (on_exhausted = \"warn\")",
                };
                ("budget_exhausted", format!("{}: {}; {then}", title(plan), show(&amount)))
            }
        };
        tracing::warn!(bulkhead, message, kind, "budget");
        self.events.note(kind, |event| {
            bulkhead.clone_into(&mut event.bulkhead);
            event.message = message;
        });
    }

    /// Every budget.
    pub(super) fn budgets_now(&self) -> Listed {
        let state = self.lock();
        let all = state.budgets.accounts.iter();
        let budgets = all.flat_map(|(name, budgets)| {
            budgets.iter().map(move |(plan, account)| record(name, plan, account))
        });
        Listed { schema: "guard.budgets/1".into(), budgets: budgets.collect() }
    }

    /// Lets a bulkhead go on until its periods end, whatever it has used up.
    pub(super) fn release_budgets(&self, peer: &Peer, bulkhead: &str) -> Result<Listed, ErrorBody> {
        let mut state = self.lock();
        let refuse = |error: String, help: &str| {
            Err(ErrorBody { error, help: help.to_owned(), exit_code: 2 })
        };
        match self.release_budgets_of(&mut state, bulkhead) {
            None => {
                let error = format!("bulkhead {bulkhead} has no budget");
                return refuse(error, "guardctl budget list shows those that there are");
            }
            Some(0) => {
                let error = format!("no budget of bulkhead {bulkhead} is used up");
                return refuse(error, "there is nothing to release: guardctl budget list");
            }
            Some(released) => {
                tracing::warn!(bulkhead, released, uid = peer.uid, "budgets released by hand");
            }
        }
        drop(state);
        Ok(self.budgets_now())
    }

    /// The same, for whoever has the state: how many were released; `None` if there is no budget.
    pub(super) fn release_budgets_of(&self, state: &mut State, bulkhead: &str) -> Option<usize> {
        let budgets = state.budgets.accounts.get_mut(bulkhead)?;
        let released =
            budgets.iter_mut().filter_map(|(_, account)| account.release().then_some(()));
        let released = released.count();
        if released > 0 {
            self.events.note("budget_released", |event| {
                bulkhead.clone_into(&mut event.bulkhead);
                event.message = format!("{released} released until the period ends");
            });
            self.apply_blocks(state);
            self.apply_freezes(state);
            state.save_budgets();
        }
        Some(released)
    }
}

fn record(bulkhead: &str, plan: &BudgetPlan, account: &Account) -> BudgetRecord {
    let end = account.ends_at(plan).as_secs();
    BudgetRecord {
        bulkhead: bulkhead.to_owned(),
        services: plan.services.clone(),
        per_seconds: plan.per.as_secs(),
        amounts: account
            .amounts(plan)
            .into_iter()
            .map(|Amount { name, used, limit }| BudgetAmount { name: name.to_owned(), used, limit })
            .collect(),
        ends_unix_seconds: end,
        on_exhausted: word(plan.on_exhausted).to_owned(),
        state: match (account.acts(), account.is_exhausted()) {
            (true, _) => "exhausted",
            (false, true) => "released",
            (false, false) => "ok",
        }
        .to_owned(),
    }
}

const fn word(action: OnExhausted) -> &'static str {
    match action {
        OnExhausted::Block => "block",
        OnExhausted::Freeze => "freeze",
        OnExhausted::Warn => "warn",
    }
}

/// Which budget it is, for people.
fn title(plan: &BudgetPlan) -> String {
    let of =
        if plan.services.is_empty() { "all services".into() } else { plan.services.join(", ") };
    format!("budget per {} of {of}", crate::config::text::duration::format(plan.per))
}

/// `900 of 1000 calls`.
fn show(amount: &Amount) -> String {
    match amount.name {
        "bytes" => format!("{} of {}", size::format(amount.used), size::format(amount.limit)),
        name => format!("{} of {} {name}", amount.used, amount.limit),
    }
}
