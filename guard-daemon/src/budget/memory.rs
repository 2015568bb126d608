//! Accounts on the disk, so that a restart of guardd gives nobody a fresh budget.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Account;
use crate::journal::replace_file;
use crate::plan::BudgetPlan;

const FILE: &str = "budgets.json";

/// One account and whose it is. Of a budget whose amounts have changed it goes on; one with another
/// period or other services is another budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    /// Bulkhead.
    pub bulkhead: String,
    /// Length of the period.
    pub per_seconds: u64,
    /// Services; empty = all.
    pub services: Vec<String>,
    /// What is used.
    pub account: Account,
}

/// All accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// In any order.
    pub accounts: Vec<Remembered>,
}

impl Memory {
    /// What an earlier guardd wrote; nothing if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read, or is not one of ours.
    pub fn read(state_dir: &Path) -> io::Result<Self> {
        match std::fs::read(state_dir.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes the file as a whole.
    ///
    /// # Errors
    /// If it cannot be written; the old one is there then.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        replace_file(state_dir, FILE, &serde_json::to_vec_pretty(self)?)
    }

    /// The account of a budget; a fresh one if nothing is known of it.
    pub fn account(&self, bulkhead: &str, plan: &BudgetPlan) -> Account {
        let is_its = |known: &&Remembered| {
            known.bulkhead == bulkhead
                && known.per_seconds == plan.per.as_secs()
                && known.services == plan.services
        };
        self.accounts.iter().find(is_its).map(|known| known.account.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::budget::Amounts;
    use crate::plan::OnExhausted;

    #[test]
    fn an_account_goes_on_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let plan = BudgetPlan {
            per: Duration::from_mins(1),
            bytes: None,
            calls: Some(2),
            connects: None,
            services: vec!["llm".into()],
            warn_at: 0.8,
            on_exhausted: OnExhausted::Block,
        };
        assert_eq!(Memory::read(directory.path()).unwrap(), Memory::default());
        let mut account = Account::default();
        for calls in [0, 2] {
            let counters = Amounts { calls, ..Amounts::default() };
            account.look(&plan, counters, Duration::from_mins(10));
        }
        let remembered = Remembered {
            bulkhead: "a".into(),
            per_seconds: 60,
            services: plan.services.clone(),
            account: account.clone(),
        };
        Memory { accounts: vec![remembered] }.write(directory.path()).unwrap();
        let memory = Memory::read(directory.path()).unwrap();
        assert_eq!(memory.account("a", &plan), account);
        assert!(memory.account("a", &plan).acts());
        assert_eq!(memory.account("b", &plan), Account::default());
        let all = BudgetPlan { services: Vec::new(), ..plan };
        assert_eq!(memory.account("a", &all), Account::default());
        std::fs::write(directory.path().join(FILE), "{").unwrap();
        assert!(Memory::read(directory.path()).is_err());
    }
}
