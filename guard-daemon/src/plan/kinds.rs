//! Kinds of sockets that a bulkhead may make.

use guard_common::abi::creation::{KIND_NAMES, KINDS_GUARDED};

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketKinds(u32);

impl SocketKinds {
    /// Those of these names; unknown ones add nothing.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let bit = |name| KIND_NAMES.iter().position(|known| *known == name);
        Self(names.into_iter().filter_map(bit).fold(0, |bits, at| bits | 1 << at))
    }

    /// As the kernel has it: one bit for each kind.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Names, as the configuration writes them.
    pub fn names(self) -> Vec<&'static str> {
        let named = KIND_NAMES.iter().enumerate();
        named.filter(|(at, _)| self.0 & 1 << at != 0).map(|(_, name)| *name).collect()
    }
}

impl Default for SocketKinds {
    /// Those that every hook sees.
    fn default() -> Self {
        Self(KINDS_GUARDED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_there_and_back() {
        let kinds = SocketKinds::from_names(["raw", "tcp"]);
        assert_eq!(kinds.names(), ["tcp", "raw"]);
        assert_eq!(SocketKinds::default().names(), ["tcp", "udp", "mptcp", "ping"]);
    }
}
