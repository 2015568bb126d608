//! The words for the plan's choices, as the configuration, the status and the metrics use them.

use super::{BreakerMode, Fail, Mode, OnExit, OpenAction, OpenPool, Protocol, ServiceClass, Stage};

macro_rules! words {
    ($kind:ty: $($variant:ident = $word:literal),+) => {
        impl $kind {
            /// Every choice.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its word.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            /// The choice with this word.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|c| c.name() == name)
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

words!(Mode: Enforce = "enforce", Monitor = "monitor");
words!(BreakerMode: Enforce = "enforce", Monitor = "monitor", ForceOpen = "force_open",
    ForceClosed = "force_closed", Off = "off");
words!(OpenPool: Keep = "keep", CutIdle = "cut_idle", CutAll = "cut_all");
words!(OpenAction: Refuse = "refuse", Hold = "hold");
words!(OnExit: Detach = "detach", Keep = "keep");
words!(Fail: Static = "static", Open = "open");
words!(ServiceClass: Generic = "generic", Llm = "llm", LlmLocal = "llm_local", Mcp = "mcp",
    Tool = "tool");
words!(Protocol: Auto = "auto", Tcp = "tcp", Http = "http", Tls = "tls");
words!(Stage: Throttle = "throttle", Refuse = "refuse", Freeze = "freeze",
    KillNewest = "kill_newest", Kill = "kill");
