//! Keys of `[bulkheads.NAME]` for memory, processors, processes and block devices, and what is done
//! under pressure.

use std::time::Duration;

use super::{Absent, Key, Kind, YEAR};

const MIB: u64 = 1 << 20;
const PIB: u64 = 1 << 50;
const SECOND: Duration = Duration::from_secs(1);

pub(super) const MEMORY_MAX: Key = Key::new(
    "memory_max",
    Kind::Size { min: MIB, max: PIB },
    Absent::Words("no limit"),
    "Memory that the bulkhead may use (memory.max); above it the kernel reclaims, then kills inside it.",
)
.example("\"2GiB\"");

pub(super) const MEMORY_HIGH: Key = Key::new(
    "memory_high",
    Kind::Size { min: MIB, max: PIB },
    Absent::Words("no limit"),
    "Memory above which the kernel slows the bulkhead's processes down and reclaims, and kills \
     nobody (memory.high). Below `memory_max`.",
)
.example("\"1536MiB\"");

pub(super) const MEMORY_SWAP_MAX: Key = Key::new(
    "memory_swap_max",
    Kind::Size { min: 0, max: PIB },
    Absent::Words("no limit"),
    "Swap that the bulkhead may use (memory.swap.max). \"0MiB\" keeps an agent that leaks from \
     thrashing the disk inside its limit.",
)
.example("\"0MiB\"");

pub(super) const MEMORY_OOM_GROUP: Key = Key::new(
    "memory_oom_group",
    Kind::Flag,
    Absent::Words("as the cgroup has it: false in one that guard makes"),
    "Whether an OOM kill ends every process of the bulkhead, instead of one (memory.oom.group). \
     With false a tool that runs away dies alone, and its agent goes on.",
)
.example("false");

pub(super) const CPU_MAX: Key = Key::new(
    "cpu_max",
    Kind::Percent { min: 1.0, max: 1_000_000.0 },
    Absent::Words("no limit"),
    "Processor time, in percent of one processor: \"150%\" is one and a half (cpu.max).",
)
.example("\"150%\"");

pub(super) const CPU_WEIGHT: Key = Key::new(
    "cpu_weight",
    Kind::Integer { min: 1, max: 10_000 },
    Absent::Words("100, the kernel's default"),
    "Share of processor time beside its neighbours, where there is not enough for all (cpu.weight).",
)
.example("50");

pub(super) const PIDS_MAX: Key = Key::new(
    "pids_max",
    Kind::Integer { min: 1, max: 4_194_304 },
    Absent::Words("no limit"),
    "Processes and threads that may exist in the bulkhead at once (pids.max); one more fails with \
     EAGAIN.",
)
.example("256");

pub(super) const IO_WEIGHT: Key = Key::new(
    "io_weight",
    Kind::Integer { min: 1, max: 10_000 },
    Absent::Words("100, the kernel's default"),
    "Share of block devices beside its neighbours (io.weight). It acts on devices whose cost model is \
     on (io.cost.qos); guard does not switch that on.",
)
.example("50");

pub(super) const IO_MAX: Key = Key::new(
    "io_max",
    Kind::List(IO_MAX_ENTRY),
    Absent::Words("no limit"),
    "Bytes and operations per second that the bulkhead may read from and write to block devices \
     (io.max). One entry for each device.",
)
.example("[{ device = \"/dev/vda\", rbps = \"50MiB\", wbps = \"10MiB\" }]");

/// An entry of `[bulkheads.NAME] io_max`.
static IO_MAX_ENTRY: &[Key] = &[
    Key::new(
        "device",
        Kind::AbsolutePath,
        Absent::Required,
        "A block device, or a directory: the device that its file system is on. The kernel limits \
         whole disks, so that a partition means its disk.",
    )
    .example("\"/dev/vda\""),
    bytes_per_second("rbps", "Bytes that may be read per second."),
    bytes_per_second("wbps", "Bytes that may be written per second."),
    operations_per_second("riops", "Reads per second."),
    operations_per_second("wiops", "Writes per second."),
];

const fn bytes_per_second(name: &'static str, words: &'static str) -> Key {
    Key::new(name, Kind::Size { min: 4096, max: PIB }, Absent::Words("no limit"), words)
        .example("\"10MiB\"")
}

const fn operations_per_second(name: &'static str, words: &'static str) -> Key {
    Key::new(name, Kind::Integer { min: 1, max: 1_000_000_000 }, Absent::Words("no limit"), words)
        .example("200")
}

pub(super) const PRESSURE_TABLE: Key = Key::new(
    "pressure",
    Kind::Table(PRESSURE),
    Absent::Words("nothing is done; pressure is only shown"),
    "What is done, from mild to severe, while the bulkhead presses against its resources. It needs \
     at least one of the thresholds.",
);

/// `[bulkheads.NAME.pressure]`.
static PRESSURE: &[Key] = &[
    Key::new(
        "memory_above",
        Kind::Percent { min: 1.0, max: 100.0 },
        Absent::Words("memory in use is no reason"),
        "Memory in use, in percent of `memory_max`, above which there is pressure.",
    )
    .example("\"90%\""),
    Key::new(
        "memory_stall_above",
        Kind::Percent { min: 0.1, max: 100.0 },
        Absent::Words("waiting for memory is no reason"),
        "Share of the last 10 s in which some task waited for memory (`some avg10` of \
         memory.pressure), above which there is pressure.",
    )
    .example("\"20%\""),
    Key::new(
        "cpu_stall_above",
        Kind::Percent { min: 0.1, max: 100.0 },
        Absent::Words("waiting for a processor is no reason"),
        "The same for processors (cpu.pressure). A bulkhead at its `cpu_max` is near 100%.",
    )
    .example("\"80%\""),
    Key::new(
        "io_stall_above",
        Kind::Percent { min: 0.1, max: 100.0 },
        Absent::Words("waiting for block devices is no reason"),
        "The same for block devices (io.pressure).",
    )
    .example("\"40%\""),
    Key::new(
        "lasting",
        Kind::Duration { min: Duration::from_millis(500), max: YEAR },
        Absent::Value("\"10s\""),
        "How long the pressure must last before the first stage, and again before each next one.",
    )
    .example("\"10s\""),
    Key::new(
        "stages",
        Kind::Words(&["throttle", "refuse", "freeze", "kill_newest", "kill"]),
        Absent::Words("[\"throttle\"]"),
        "What is done, in this order, mild to severe: \"throttle\" lowers memory.high to \
         `throttle_to`; \"refuse\" refuses new connections; \"freeze\" stops all processes; \
         \"kill_newest\" kills the youngest process, again after each `lasting`, and never the \
         bulkhead's first; \"kill\" kills all. Nothing but \"refuse\" is done to a bulkhead that \
         holds a process that serves others too, such as tmux or sshd.",
    )
    .example("[\"throttle\", \"refuse\", \"kill_newest\"]"),
    Key::new(
        "calm_share",
        Kind::Number { min: 0.1, max: 1.0 },
        Absent::Value("0.8"),
        "There is calm again when every value is below this share of its threshold; in between \
         nothing changes.",
    )
    .example("0.8"),
    Key::new(
        "calm_for",
        Kind::Duration { min: SECOND, max: YEAR },
        Absent::Value("\"30s\""),
        "How long there must be calm before the last stage is taken back, and again before each \
         one before it.",
    )
    .example("\"30s\""),
    Key::new(
        "throttle_to",
        Kind::Percent { min: 1.0, max: 100.0 },
        Absent::Value("\"80%\""),
        "memory.high while throttled, in percent of `memory_max`; without one, of the memory in use \
         at that moment.",
    )
    .example("\"80%\""),
    Key::new(
        "errno",
        Kind::Errno,
        Absent::Value("\"ECONNREFUSED\""),
        "What connect() gives while new connections are refused.",
    )
    .example("\"ECONNREFUSED\""),
];
