//! One line of the undo log. No I/O.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::line;

/// Address family of a netfilter chain, written as 4 or 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl From<Family> for u8 {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => 4,
            Family::V6 => 6,
        }
    }
}

impl TryFrom<u8> for Family {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            4 => Ok(Self::V4),
            6 => Ok(Self::V6),
            other => Err(format!("address family {other}: must be 4 or 6")),
        }
    }
}

/// What guard is about to put on the host, as much as is needed to remove it again.
/// Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// A cgroup directory.
    CgroupMade {
        /// Its path.
        path: PathBuf,
    },
    /// A cgroup given to a user.
    CgroupDelegated {
        /// Its path.
        path: PathBuf,
        /// The user's id.
        uid: u32,
    },
    /// The cgroup of one run of a hook, with all that is in it.
    HookCgroup {
        /// Its path.
        path: PathBuf,
    },
    /// A netfilter chain and the jump to it.
    IptablesChain {
        /// Address family.
        family: Family,
        /// Table.
        table: String,
        /// Chain.
        chain: String,
        /// Built-in chain with the jump.
        hook: String,
    },
    /// A file system mounted on a directory.
    Mounted {
        /// The directory.
        path: PathBuf,
    },
    /// An object pinned in a bpffs.
    PinMade {
        /// Its path.
        path: PathBuf,
    },
    /// A directory.
    DirMade {
        /// Its path.
        path: PathBuf,
    },
    /// A value in a file of a cgroup.
    CgroupValue {
        /// The cgroup.
        path: PathBuf,
        /// Its inode: another cgroup may have its path by then.
        id: u64,
        /// The file, and for a file of several values the place in it (`io.max 8:0 rbps`).
        file: String,
        /// What it said before guard.
        before: String,
        /// What guard writes.
        set: String,
    },
    /// A controller switched on for the children of a cgroup.
    ControllerOn {
        /// The cgroup.
        path: PathBuf,
        /// Its inode.
        id: u64,
        /// The controller.
        controller: String,
    },
    /// A transient unit of systemd.
    SystemdUnit {
        /// Its full name, with `.slice` or `.scope`.
        name: String,
    },
}

impl Undo {
    /// Whether it is in a file system that survives a reboot; kernel objects do not.
    pub fn survives_reboot(&self) -> bool {
        matches!(self, Self::DirMade { .. })
    }
}

/// Whether a line opens or closes an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// About to be made.
    Intend,
    /// Removed again.
    Done,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Number of the entry; a `done` has the number of its `intend`.
    pub(super) seq: u64,
    /// The kernel's boot id when it was written.
    pub(super) boot_id: String,
    pub(super) kind: Kind,
    /// Absent in a `done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<Undo>,
}

impl Record {
    /// The line, with its newline.
    pub(super) fn to_line(&self) -> serde_json::Result<String> {
        line::to_line(self)
    }

    /// Reads a line (without newline); an error says what is wrong with it.
    pub(super) fn from_line(text: &[u8]) -> Result<Self, String> {
        line::from_line(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_reads_as_documented() {
        let body = Undo::IptablesChain {
            family: Family::V6,
            table: "mangle".into(),
            chain: "GUARD-D0".into(),
            hook: "OUTPUT".into(),
        };
        let record = Record { seq: 7, boot_id: "b".into(), kind: Kind::Intend, body: Some(body) };
        let line = record.to_line().unwrap();
        insta::assert_snapshot!(line.trim_end(), @r#"{"seq":7,"boot_id":"b","kind":"intend","body":{"iptables_chain":{"family":6,"table":"mangle","chain":"GUARD-D0","hook":"OUTPUT"}},"crc32":604036295}"#);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(value["crc32"].is_u64(), "each line is JSON by itself");
        assert_eq!(Record::from_line(line.trim_end().as_bytes()), Ok(record));
    }

    proptest! {
        #[test]
        fn any_change_of_a_line_is_found(path in ".*", seq: u64, at: usize, flip in 1..=255_u8) {
            let body = Some(Undo::DirMade { path: PathBuf::from(path) });
            let record = Record { seq, boot_id: "boot".into(), kind: Kind::Intend, body };
            let line = record.to_line().unwrap();
            prop_assert_eq!(line.matches('\n').count(), 1);
            let mut bytes = line.trim_end_matches('\n').as_bytes().to_vec();
            prop_assert_eq!(Record::from_line(&bytes), Ok(record.clone()));
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert_ne!(Record::from_line(&bytes), Ok(record));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Record::from_line(&bytes).is_err());
        }
    }
}
