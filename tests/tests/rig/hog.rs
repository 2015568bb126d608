//! A `testbed-hog` inside a bulkhead.

use std::path::Path;
use std::process::Command;

use testbed::cgroup;
use testbed::guardd::Guardd;
use testbed::process::{Process, binary};

use super::LIMIT;

pub struct Hog(pub Process);

impl Hog {
    pub fn start(guardd: &Guardd, bulkhead: &str) -> Self {
        Self::start_as(guardd, bulkhead, &binary("testbed-hog").unwrap())
    }

    /// With another executable: its file's name is the process's name.
    pub fn start_as(guardd: &Guardd, bulkhead: &str, executable: &Path) -> Self {
        let mut wrapped = cgroup::wrap(&guardd.bulkhead(bulkhead), &Command::new(executable));
        Self(Process::spawn(&mut wrapped).unwrap())
    }

    /// The reply to an order.
    pub fn ask(&mut self, order: &str) -> String {
        self.0.send_line(order).unwrap();
        self.0.next_line(LIMIT).unwrap_or_else(|e| panic!("{order}: {e:#}"))
    }

    /// Says what to do, and does not wait.
    pub fn order(&mut self, order: &str) {
        self.0.send_line(order).unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}
