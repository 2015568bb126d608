//! Loads the object: maps sized for the plan, constants set, every program verified.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, PerCpuHashMap, RingBuf};
use aya::programs::{
    CgroupSkb, CgroupSock, CgroupSockAddr, Program, ProgramError, ProgramInfo, SockOps,
    loaded_programs,
};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use guard_common::abi::breaker::{BreakerSlot, TRANSITIONS_KEPT, Transition};
use guard_common::abi::creation::{CreationCounts, CreationKey};
use guard_common::abi::fault::{FaultRule, FaultStats, JitterTable, PairRules, RateState};
use guard_common::abi::hygiene::HygienePolicy;
use guard_common::abi::ids::PairKey;
use guard_common::abi::limits::{LimitSlot, RetryBudget};
use guard_common::abi::nesting::Outers;
use guard_common::abi::policy::{Control, EndpointMatch, EndpointValue};
use guard_common::abi::pressure::PressureSwitch;
use guard_common::abi::stats::{HookStats, PairStats};

use super::breakers::{Breakers, Known};
use super::error::{KernelError, cause_chain, cure_of};
use super::fallbacks::{Asking, Fallbacks, own_netns};
use super::limits::{Known as LimitsKnown, Limits};
use super::pacing::{GATE, PacedSockets};
use super::pins::{MAPS, Pins};
use super::shared::SharedArray;
use super::{OBJECT, btf};

/// Programs that are attached to each bulkhead, with their attach types (`enum bpf_attach_type`).
pub(super) const PROGRAMS: [(&str, u32); 11] = [
    ("guard_connect4", 10),
    ("guard_connect6", 11),
    ("guard_sendmsg4", 14),
    ("guard_sendmsg6", 15),
    ("guard_peername4", 29),
    ("guard_peername6", 30),
    ("guard_sockops", 3),
    ("guard_egress", 1),
    ("guard_ingress", 0),
    ("guard_socket", 2),
    ("guard_release", 34),
];

/// Programs that ask which bulkhead they run for; the kernel keeps an identity for these alone. The
/// others go by the socket's storage.
pub(super) const KNOWS_BULKHEAD: [&str; 8] = [
    "guard_connect4",
    "guard_connect6",
    "guard_sendmsg4",
    "guard_sendmsg6",
    "guard_sockops",
    "guard_egress",
    "guard_ingress",
    "guard_socket",
];

/// What the loader must know of the plan.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// (bulkhead, service) pairs that may have counters.
    pub pairs: u32,
    /// Endpoints, resolved addresses included.
    pub endpoints: u32,
    /// Breakers.
    pub breakers: u32,
    /// Slots of limits: one for each pair, and one for each bulkhead.
    pub limits: u32,
}

impl LoadOptions {
    /// Sizes as maps have them.
    pub(super) fn rounded(self) -> Self {
        Self {
            pairs: self.pairs.max(1024).next_power_of_two(),
            endpoints: self.endpoints.max(4096).next_power_of_two(),
            breakers: self.breakers.max(1024).next_power_of_two(),
            limits: self.limits.max(1024).next_power_of_two(),
        }
    }
}

/// Everything of guard that is in the kernel.
pub struct Kernel {
    pub(super) ebpf: Ebpf,
    pub(super) control: Array<MapData, Control>,
    pub(super) endpoints: LpmTrie<MapData, EndpointMatch, EndpointValue>,
    pub(super) protected: LpmTrie<MapData, [u8; 16], u32>,
    pub(super) pair_stats: PerCpuHashMap<MapData, PairKey, PairStats>,
    pub(super) hook_stats: PerCpuArray<MapData, HookStats>,
    pub(super) fault_rules: Array<MapData, FaultRule>,
    pub(super) fault_stats: PerCpuArray<MapData, FaultStats>,
    pub(super) jitter: Array<MapData, JitterTable>,
    pub(super) fault_draws: Array<MapData, u64>,
    pub(super) share_draws: Array<MapData, u64>,
    pub(super) rates: Array<MapData, RateState>,
    pub(super) pair_rules: HashMap<MapData, PairKey, PairRules>,
    pub(super) hygiene: HashMap<MapData, u32, HygienePolicy>,
    pub(super) breakers: Breakers,
    pub(super) limits: Limits,
    pub(super) creations: HashMap<MapData, CreationKey, CreationCounts>,
    pub(super) nesting: HashMap<MapData, u32, Outers>,
    pub(super) fallbacks: Fallbacks,
    pub(super) gates: Array<MapData, u32>,
    pub(super) paced: PacedSockets,
    pub(super) lease: Option<Array<MapData, u64>>,
    pub(super) ring: Option<RingBuf<MapData>>,
    pub(super) options: LoadOptions,
    pub(super) knows_errors: bool,
    pub(super) heartbeat: Array<MapData, u64>,
    pub(super) pressure: HashMap<MapData, u32, PressureSwitch>,
    pub(super) pressure_refused: HashMap<MapData, u32, u64>,
    pub(super) pins: Option<Pins>,
    /// Ids of the programs in the kernel, an earlier life's included, that keep their bulkhead's
    /// identity in our map.
    pub(super) identified: BTreeSet<u32>,
}

macro_rules! take {
    ($ebpf:expr, $name:literal) => {
        $ebpf
            .take_map($name)
            .ok_or(KernelError::Missing { what: "map", name: $name })?
            .try_into()
            .map_err(KernelError::map($name, "opening"))?
    };
}

impl Kernel {
    /// Loads and verifies everything; attaches nothing. Maps that are pinned already are taken as
    /// they are, and `options` must be what [`Pins::check`] says of them; others are made and
    /// pinned. Without `pins` nothing outlives the daemon.
    pub fn load(options: LoadOptions, pins: Option<&Pins>) -> Result<Self, KernelError> {
        // The verifier's log costs time and memory at each start: only a refusal is worth it.
        match Self::load_logged(options, pins, VerifierLogLevel::DISABLE) {
            Err(KernelError::Program { .. }) => {
                Self::load_logged(options, pins, VerifierLogLevel::DEBUG)
            }
            other => other,
        }
    }

    fn load_logged(
        options: LoadOptions,
        pins: Option<&Pins>,
        log: VerifierLogLevel,
    ) -> Result<Self, KernelError> {
        let options = options.rounded();
        let (mut ebpf, knows_errors) = open(options, pins, log)?;
        for (name, _) in PROGRAMS {
            load_program(&mut ebpf, name)?;
        }
        // It uses maps that are in this process's memory alone afterwards.
        load_program(&mut ebpf, GATE)?;
        let mut kernel = Self {
            control: take!(ebpf, "CONTROL"),
            endpoints: take!(ebpf, "ENDPOINTS"),
            protected: take!(ebpf, "PROTECTED"),
            pair_stats: take!(ebpf, "PAIR_STATS"),
            hook_stats: take!(ebpf, "HOOK_STATS"),
            fault_rules: take!(ebpf, "FAULT_RULES"),
            fault_stats: take!(ebpf, "FAULT_STATS"),
            jitter: take!(ebpf, "JITTER"),
            fault_draws: take!(ebpf, "FAULT_DRAWS"),
            share_draws: take!(ebpf, "SHARE_DRAWS"),
            rates: take!(ebpf, "RATES"),
            pair_rules: take!(ebpf, "PAIR_RULES"),
            hygiene: take!(ebpf, "HYGIENE"),
            breakers: Breakers {
                of_pair: take!(ebpf, "BREAKER_OF_PAIR"),
                policies: take!(ebpf, "BREAKER_POLICIES"),
                slots: shared::<BreakerSlot>(&mut ebpf, "BREAKERS", options.breakers as usize)?,
                transitions: shared::<Transition>(&mut ebpf, "TRANSITIONS", TRANSITIONS_KEPT)?,
                transition_count: shared::<u64>(&mut ebpf, "TRANSITION_COUNT", 2)?,
                ended: take!(ebpf, "ENDED"),
                known: Known::default(),
            },
            limits: Limits {
                of_pair: take!(ebpf, "LIMIT_OF_PAIR"),
                slots: shared::<LimitSlot>(&mut ebpf, "LIMITS", options.limits as usize)?,
                budget: shared::<RetryBudget>(&mut ebpf, "RETRY_BUDGET", 1)?,
                known: LimitsKnown::default(),
            },
            creations: take!(ebpf, "CREATIONS"),
            nesting: take!(ebpf, "NESTING"),
            fallbacks: Fallbacks {
                policies: take!(ebpf, "FALLBACKS"),
                serving: take!(ebpf, "SERVING"),
                asked: Asking::new(take!(ebpf, "ASKED")),
                netns: own_netns(),
            },
            gates: take!(ebpf, "GATES"),
            paced: PacedSockets::new(take!(ebpf, "PACED")),
            lease: Some(take!(ebpf, "LEASE")),
            ring: Some(take!(ebpf, "EVENTS")),
            heartbeat: take!(ebpf, "HEARTBEAT"),
            pressure: take!(ebpf, "PRESSURE"),
            pressure_refused: take!(ebpf, "PRESSURE_REFUSED"),
            pins: pins.cloned(),
            identified: programs_with(&ebpf, "BULKHEAD")?,
            ebpf,
            options,
            knows_errors,
        };
        kernel.breakers.find()?;
        kernel.limits.find()?;
        Ok(kernel)
    }

    /// Whether the errno of failed connects can be read (BTF told its place). Without it, outcomes
    /// are judged by what was seen on the wire alone.
    pub const fn knows_errors(&self) -> bool {
        self.knows_errors
    }

    /// Descriptor of the socket storage, for socket diagnostics.
    pub fn socket_storage(&self) -> Result<BorrowedFd<'_>, KernelError> {
        match self.ebpf.map("SOCKETS") {
            Some(Map::SkStorage(data)) => Ok(data.fd().as_fd()),
            _ => Err(KernelError::Missing { what: "map", name: "SOCKETS" }),
        }
    }

    /// Instructions that the verifier processed, by program name.
    pub fn verified_instructions(&self) -> Vec<(String, u32)> {
        let mut all: Vec<_> = self
            .ebpf
            .programs()
            .filter_map(|(name, program)| {
                let count = program.info().ok()?.verified_instruction_count()?;
                Some((name.to_owned(), count))
            })
            .collect();
        all.sort();
        all
    }
}

/// Reads the object and makes its maps; whether the errno of sockets can be read.
pub(super) fn open(
    options: LoadOptions,
    pins: Option<&Pins>,
    log: VerifierLogLevel,
) -> Result<(Ebpf, bool), KernelError> {
    let sk_err = btf::member_offset_bytes(Path::new(btf::VMLINUX), "sock", "sk_err");
    let offset = sk_err.unwrap_or(0);
    let mut loader = EbpfLoader::new();
    if let Some(pins) = pins {
        for name in MAPS {
            loader.map_pin_path(name, pins.map(name));
        }
    }
    let ebpf = loader
        .override_global("SK_ERR_OFFSET", &offset, true)
        .map_max_entries("PAIR_STATS", options.pairs)
        .map_max_entries("PAIR_RULES", options.pairs)
        .map_max_entries("BREAKER_OF_PAIR", options.breakers)
        .map_max_entries("BREAKERS", options.breakers)
        .map_max_entries("LIMIT_OF_PAIR", options.limits)
        .map_max_entries("LIMITS", options.limits)
        .map_max_entries("ENDPOINTS", options.endpoints)
        .verifier_log_level(log)
        .load(OBJECT)
        .map_err(|e| {
            let cure = cure_of(&e);
            KernelError::Load { detail: cause_chain(&e), cure }
        })?;
    Ok((ebpf, sk_err.is_some()))
}

/// Ids of all programs in the kernel that use a map of ours.
fn programs_with(ebpf: &Ebpf, name: &'static str) -> Result<BTreeSet<u32>, KernelError> {
    let Some(Map::CgroupStorage(data)) = ebpf.map(name) else {
        return Err(KernelError::Missing { what: "map", name });
    };
    let map = data.info().map_err(KernelError::map(name, "asking for the id of"))?.id();
    // One that ends while it is looked at is none of those that are attached.
    let uses_it =
        |program: &ProgramInfo| matches!(program.map_ids(), Ok(Some(maps)) if maps.contains(&map));
    let programs = loaded_programs().filter_map(Result::ok).filter(uses_it);
    Ok(programs.map(|program| program.id()).collect())
}

/// An array map in this process's memory, as many values as it was made with.
fn shared<T>(
    ebpf: &mut Ebpf,
    name: &'static str,
    entries: usize,
) -> Result<SharedArray, KernelError> {
    let Some(Map::Array(map)) = ebpf.take_map(name) else {
        return Err(KernelError::Missing { what: "map", name });
    };
    SharedArray::map(map.fd(), size_of::<T>(), entries).map_err(|source| KernelError::Io {
        what: "mapping a map into memory",
        path: name.to_owned(),
        source,
    })
}

/// Loads one program into the kernel.
pub(super) fn load_program(ebpf: &mut Ebpf, name: &'static str) -> Result<(), KernelError> {
    let program = ebpf.program_mut(name).ok_or(KernelError::Missing { what: "program", name })?;
    load(program).map_err(|e| refused(name, &e))
}

/// Loads it, whatever its kind.
pub(super) fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::CgroupSockAddr(p) => CgroupSockAddr::load(p),
        Program::SockOps(p) => SockOps::load(p),
        Program::CgroupSkb(p) => CgroupSkb::load(p),
        Program::CgroupSock(p) => CgroupSock::load(p),
        Program::SocketFilter(p) => p.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

pub(super) fn refused(program: &str, error: &ProgramError) -> KernelError {
    /// Lines at the end of the verifier's log that are worth showing.
    const LOG_LINES: usize = 12;
    let mut detail = error.to_string();
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        let lines: Vec<_> = log.lines().filter(|l| !l.trim().is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
        detail = format!("{io_error}");
        if !tail.is_empty() {
            detail.push_str("\n  ");
            detail.push_str(&tail);
        }
    }
    KernelError::Program { program: program.to_owned(), detail, cure: cure_of(error) }
}
