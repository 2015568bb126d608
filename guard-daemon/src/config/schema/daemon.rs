//! Keys of `[daemon]`.

use std::time::Duration;

use super::{Absent, Key, Kind};

/// `[daemon]`.
pub(super) static DAEMON: &[Key] = &[
    Key::new(
        "mode",
        Kind::Choice(&["enforce", "monitor"]),
        Absent::Value("\"enforce\""),
        "\"enforce\" decides, counts and acts. \"monitor\" decides and counts what it would have \
         done, and touches nothing: no call is refused, delayed or ended. A good first day on a new \
         host.",
    )
    .example("\"monitor\""),
    Key::new(
        "strict",
        Kind::Flag,
        Absent::Value("false"),
        "Whether a limit that this host cannot enforce (its controller is not there, or may not be \
         used) is an error: guardd does not start, a reload changes nothing, and `guardctl check` \
         fails, where it can know. With false guardd goes on, and says so in `status` and `doctor`.",
    )
    .example("true"),
    Key::new(
        "state_dir",
        Kind::AbsolutePath,
        Absent::Value("\"/var/lib/guard\""),
        "Directory of the journal and of the undo log that lets the next start, or `guardctl \
         cleanup`, take off the host whatever a killed daemon left. Made if absent, with mode 0700.",
    )
    .example("\"/var/lib/guard\"")
    .restart(),
    Key::new(
        "control_socket",
        Kind::SocketPath,
        Absent::Value("\"/run/guard/guardd.sock\""),
        "Unix socket that guardctl talks to. Its mode is 0660, owner root, group guard where that \
         group exists; the peer's credentials are checked too.",
    )
    .example("\"/run/guard/guardd.sock\"")
    .restart(),
    Key::new(
        "metrics_listen",
        Kind::Listen,
        Absent::Value("\"127.0.0.1:9729\""),
        "Address of the HTTP listener with /metrics, /healthz and /readyz; \"off\" opens none. It \
         has no authentication: an address other than loopback shows the names of your agents and \
         services to the network, and earns a warning.",
    )
    .example("\"127.0.0.1:9729\"")
    .restart(),
    Key::new(
        "cgroup_root",
        Kind::CgroupRoot,
        Absent::Value("\"auto\""),
        "Where the cgroups of the bulkheads live. \"auto\" is a slice delegated by systemd where it \
         is PID 1 (it allows nobody else to write into its own tree), else the cgroup2 mount, on \
         hybrid hosts too.",
    )
    .example("\"/sys/fs/cgroup/agents.slice\"")
    .restart(),
    Key::new(
        "fault_lease",
        Kind::Duration { min: Duration::from_millis(500), max: Duration::from_mins(1) },
        Absent::Value("\"2s\""),
        "How long an injected fault outlives the daemon's last sign of life. The kernel checks it \
         at each packet, so a killed, hung or stopped daemon leaves no fault behind for longer than \
         this. Shorter is safer, but a busy host may then end faults early.",
    )
    .example("\"2s\""),
    Key::new(
        "on_exit",
        Kind::Choice(&["detach", "keep"]),
        Absent::Value("\"detach\""),
        "What becomes of guard's programs when the daemon stops. \"detach\" takes everything off \
         the host, and breakers forget their states. \"keep\" leaves breakers at work without the \
         daemon; the next start takes them over as they are then, and `guardctl cleanup` removes \
         them. A daemon that is killed leaves them at work, whatever this says.",
    )
    .example("\"keep\"")
    .restart(),
    Key::new(
        "fail",
        Kind::Choice(&["static", "open"]),
        Absent::Value("\"static\""),
        "What breakers do when the daemon has given no sign of life for heartbeat_timeout. \
         \"static\": they go on, as the kernel decides alone. \"open\": they let every call pass, \
         until a daemon is there again.",
    )
    .example("\"open\""),
    Key::new(
        "heartbeat_timeout",
        Kind::Duration { min: Duration::from_secs(2), max: Duration::from_hours(1) },
        Absent::Value("\"30s\""),
        "How long after the daemon's last sign of life `fail = \"open\"` takes effect. Longer than \
         a restart of the daemon takes, or breakers let calls pass during each.",
    )
    .example("\"10s\""),
    Key::new(
        "protected",
        Kind::Networks,
        Absent::Value("[\"169.254.169.254/32\"]"),
        "Destinations that are never faulted and never blocked, on any port. The control socket, \
         the metrics port and port 22 always are. A list replaces the default, so name the cloud's \
         metadata address again if you set your own.",
    )
    .example("[\"169.254.169.254/32\", \"10.0.0.53\"]"),
];
