//! Gates of the NFQUEUE engine: packet filters pinned as files, because iptables takes them so.
//!
//! A gate outlives a killed guardd in its rule, and then passes everything: it checks the lease
//! at each packet.

use std::path::{Path, PathBuf};

use guard_common::abi::fault::MAX_DELAY_GATES;

use super::error::KernelError;
use super::load::{Kernel, load_program};

/// Names of the gates' programs.
pub(super) const NAMES: [&str; MAX_DELAY_GATES] = [
    "guard_gate_0",
    "guard_gate_1",
    "guard_gate_2",
    "guard_gate_3",
    "guard_gate_4",
    "guard_gate_5",
    "guard_gate_6",
    "guard_gate_7",
    "guard_gate_8",
    "guard_gate_9",
    "guard_gate_10",
    "guard_gate_11",
    "guard_gate_12",
    "guard_gate_13",
    "guard_gate_14",
    "guard_gate_15",
];

impl Kernel {
    /// Loads every gate, so that the verifier has its say before one is needed.
    pub fn verify_gates(&mut self) -> Result<(), KernelError> {
        NAMES.into_iter().try_for_each(|name| self.load_gate(name))
    }

    fn load_gate(&mut self, name: &'static str) -> Result<(), KernelError> {
        if self.ebpf.program(name).is_some_and(|program| program.fd().is_ok()) {
            return Ok(());
        }
        load_program(&mut self.ebpf, name)
    }

    /// Loads gate `gate` (below [`MAX_DELAY_GATES`]), ties it to a rule slot and pins it below
    /// `bpffs`. The path is for `iptables -m bpf --object-pinned`.
    pub fn open_gate(
        &mut self,
        gate: u32,
        slot: u32,
        bpffs: &Path,
    ) -> Result<PathBuf, KernelError> {
        let name = *NAMES.get(gate as usize).ok_or(KernelError::Full {
            what: "latency faults at once",
            wanted: gate as usize + 1,
            capacity: MAX_DELAY_GATES,
        })?;
        self.gates.set(gate, slot + 1, 0).map_err(KernelError::map("GATES", "writing"))?;
        let path = bpffs.join(name);
        if path.exists() {
            return Ok(path);
        }
        self.load_gate(name)?;
        let program =
            self.ebpf.program_mut(name).ok_or(KernelError::Missing { what: "program", name })?;
        program.pin(&path).map_err(|e| KernelError::Io {
            what: "pinning a gate",
            path: path.display().to_string(),
            source: std::io::Error::other(e),
        })?;
        Ok(path)
    }

    /// Unties a gate: from now on it passes everything. Its file is removed if it is there.
    pub fn close_gate(&mut self, gate: u32, bpffs: &Path) -> Result<(), KernelError> {
        self.gates.set(gate, 0_u32, 0).map_err(KernelError::map("GATES", "clearing"))?;
        let Some(name) = NAMES.get(gate as usize) else { return Ok(()) };
        let path = bpffs.join(name);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(KernelError::Io {
                what: "removing the file of a gate",
                path: path.display().to_string(),
                source,
            }),
        }
    }
}
