//! What guard has on the host for the sake of faults, read back from the kernel, from netfilter and
//! from the file system, and not from what guardd believes: so that a drill can show that nothing
//! is left. It changes nothing.

use super::state::{Guard, State};
use crate::control::api::Footprint;
use crate::net::{iptables, qdisc};

/// Files that each bpffs has of itself.
const BPFFS_OWN: [&str; 2] = ["maps.debug", "progs.debug"];

impl Guard {
    /// The footprint now.
    pub(super) fn footprint_now(&self) -> Footprint {
        let state = self.lock();
        let mut footprint = Footprint { schema: "guard.footprint/1".into(), ..Default::default() };
        state.kernel_rules(&mut footprint);
        state.gate_pins(&mut footprint);
        // Commands and netlink need no state.
        drop(state);
        // Other guardds of this host have theirs.
        let own = format!("P{}", std::process::id());
        footprint
            .lines
            .extend(iptables::list_leftovers().into_iter().filter(|c| c.ends_with(&own)));
        queueing(&mut footprint);
        footprint.lines.sort();
        footprint
    }
}

impl State {
    fn kernel_rules(&self, footprint: &mut Footprint) {
        match self.kernel.fault_entries() {
            Ok(entries) => footprint.lines.extend(entries),
            Err(error) => footprint.problems.push(error.to_string()),
        }
    }

    fn gate_pins(&self, footprint: &mut Footprint) {
        let directory = self.faults.gates_directory();
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            // It is made with the first gate.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                footprint.problems.push(format!("cannot list {}: {error}", directory.display()));
                return;
            }
        };
        let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
        let gates = names.filter(|name| !BPFFS_OWN.iter().any(|own| name == own));
        footprint.lines.extend(gates.map(|name| format!("gate {}", name.display())));
    }
}

/// The queueing disciplines of all devices of guardd's own network namespace.
fn queueing(footprint: &mut Footprint) {
    match qdisc::devices() {
        Ok(devices) => footprint.lines.extend(devices.iter().map(|device| {
            let root = device.root.as_ref().map_or("none", |root| &root.kind);
            format!("qdisc {}: {root}", device.name)
        })),
        Err(error) => footprint.problems.push(error.to_string()),
    }
}
