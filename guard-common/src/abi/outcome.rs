//! Outcomes of calls, their origin, and results of connects, as indices into counter arrays.

/// How one call ended. The order is ABI: it indexes [`super::stats::PairStats::calls`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The first byte of an answer arrived.
    Success = 0,
    /// The peer answered the SYN with RST.
    Refused = 1,
    /// No route, or an ICMP unreachable.
    Unreachable = 2,
    /// The SYN was never answered.
    ConnectTimeout = 3,
    /// The connection broke before any answer, on a fresh connection.
    Reset = 4,
    /// No answer in time.
    ResponseTimeout = 5,
    /// HTTP 5xx.
    ServerError = 6,
    /// HTTP 429.
    Throttled = 7,
    /// Other HTTP 4xx.
    ClientError = 8,
    /// A pooled connection found dead when used again.
    StaleConnection = 9,
    /// The name did not resolve.
    DnsFailure = 10,
    /// A TLS alert ended the handshake.
    TlsAlert = 11,
    /// Refused by guard itself (limit or breaker), not by a fault.
    Rejected = 12,
    /// Given up by the agent.
    Aborted = 13,
}

impl Outcome {
    /// Number of outcomes.
    pub const COUNT: usize = 14;

    /// Every outcome in ABI order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Success,
        Self::Refused,
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::Reset,
        Self::ResponseTimeout,
        Self::ServerError,
        Self::Throttled,
        Self::ClientError,
        Self::StaleConnection,
        Self::DnsFailure,
        Self::TlsAlert,
        Self::Rejected,
        Self::Aborted,
    ];

    /// The name used in metrics, events and the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::Reset => "reset",
            Self::ResponseTimeout => "response_timeout",
            Self::ServerError => "server_error",
            Self::Throttled => "throttled",
            Self::ClientError => "client_error",
            Self::StaleConnection => "stale_connection",
            Self::DnsFailure => "dns_failure",
            Self::TlsAlert => "tls_alert",
            Self::Rejected => "rejected",
            Self::Aborted => "aborted",
        }
    }

    /// The outcome with this ABI number, if there is one.
    pub const fn from_u32(value: u32) -> Option<Self> {
        if (value as usize) < Self::COUNT { Some(Self::ALL[value as usize]) } else { None }
    }

    /// Whether it counts against the service ("failure" in DESIGN.md: refused to server_error).
    pub const fn is_failure(self) -> bool {
        matches!(
            self,
            Self::Refused
                | Self::Unreachable
                | Self::ConnectTimeout
                | Self::Reset
                | Self::ResponseTimeout
                | Self::ServerError
        )
    }
}

/// Where an outcome came from.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The network and the service as they are.
    Real = 0,
    /// A fault of guard touched the call.
    Injected = 1,
}

impl Origin {
    /// Number of origins.
    pub const COUNT: usize = 2;
    /// Both origins in ABI order.
    pub const ALL: [Self; Self::COUNT] = [Self::Real, Self::Injected];

    /// The name used in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Injected => "injected",
        }
    }
}
