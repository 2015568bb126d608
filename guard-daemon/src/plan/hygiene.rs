//! Connection hygiene and timeouts: what the file says of them, and what is in force for one
//! bulkhead and service. The nearest word counts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Plan, ServiceClass, ServicePlan};

/// Silence is reported from here on, where nobody says otherwise.
pub const STALL_WARN: Duration = Duration::from_mins(2);

macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $kind:ty = $default:expr,)+) => {
        /// Connection hygiene that is in force for a service.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct HygienePlan {
            $($(#[$doc])* pub $field: $kind,)+
        }

        /// What one table says of it.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct HygieneSettings {
            $($(#[$doc])* pub $field: Option<$kind>,)+
        }

        impl Default for HygienePlan {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl HygieneSettings {
            /// What is said here, and for the rest `base`.
            #[must_use]
            pub fn over(&self, base: HygienePlan) -> HygienePlan {
                HygienePlan { $($field: self.$field.unwrap_or(base.$field),)+ }
            }
        }
    };
}

settings! {
    /// Whether there is any.
    on: bool = true,
    /// Idle time before the first keepalive probe.
    keepalive: Duration = Duration::from_secs(20),
    /// Time between two probes.
    keepalive_interval: Duration = Duration::from_secs(10),
    /// Unanswered probes that end the connection.
    keepalive_probes: u32 = 3,
    /// How long data may stay unacknowledged.
    user_timeout: Duration = Duration::from_secs(50),
    /// How long an idle connection whose peer has closed may be kept.
    peer_closed: Duration = Duration::from_secs(15),
    /// The same, with a call under way.
    peer_closed_busy: Duration = Duration::from_secs(30),
    /// Whether idle connections end after a suspend or the loss of their address.
    sweep: bool = true,
}

impl HygienePlan {
    /// How long the kernel's questions go on before the peer counts as gone.
    pub fn keepalive_total(&self) -> Duration {
        self.keepalive + self.keepalive_interval.saturating_mul(self.keepalive_probes)
    }
}

/// What one table says of timeouts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutSettings {
    /// How long a connect may take.
    pub connect: Option<Duration>,
    /// How long a call may stay without an answer.
    pub call: Option<Duration>,
    /// From when on its silence is reported.
    pub stall_warn: Option<Duration>,
}

impl TimeoutSettings {
    /// What is said here, and for the rest `base`.
    fn over(self, base: Self) -> Self {
        Self {
            connect: self.connect.or(base.connect),
            call: self.call.or(base.call),
            stall_warn: self.stall_warn.or(base.stall_warn),
        }
    }
}

/// Timeouts of a bulkhead: for every service, and for single ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkheadTimeouts {
    /// The bulkhead's own.
    pub own: TimeoutSettings,
    /// `timeouts.services.NAME`.
    pub of_services: BTreeMap<String, TimeoutSettings>,
}

/// Timeouts in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// How long a connect may take; `None` = as long as the agent and the kernel let it.
    pub connect: Option<Duration>,
    /// How long a call may stay without an answer; `None` = for ever.
    pub call: Option<Duration>,
    /// From when on its silence is reported.
    pub stall_warn: Duration,
}

impl ServiceClass {
    /// How long a connect may take, where neither bulkhead nor service says.
    pub const fn connect_timeout(self) -> Option<Duration> {
        match self {
            // Filtered ports freeze their clients for two minutes.
            Self::Mcp => Some(Duration::from_secs(15)),
            Self::Generic | Self::Llm | Self::LlmLocal | Self::Tool => None,
        }
    }
}

impl Plan {
    /// The timeouts of a bulkhead's calls to a service: its own for this service, its own for all,
    /// the service's, its class's.
    pub fn timeouts(&self, bulkhead: &str, service: &str) -> Timeouts {
        let service_plan = self.service(service);
        let class = service_plan.map_or(ServiceClass::Generic, |service| service.class);
        let mut found = service_plan.map(|service| service.timeouts).unwrap_or_default();
        if let Some(bulkhead) = self.bulkhead(bulkhead) {
            let own = &bulkhead.timeouts;
            let of_service = own.of_services.get(service).copied().unwrap_or_default();
            found = of_service.over(own.own.over(found));
        }
        Timeouts {
            connect: found.connect.or_else(|| class.connect_timeout()),
            call: found.call.or_else(|| class.call_timeout()),
            stall_warn: found.stall_warn.unwrap_or(STALL_WARN),
        }
    }

    /// The hygiene of connections to a service; `other` and unknown names have the defaults.
    pub fn hygiene_of(&self, service: &str) -> HygienePlan {
        self.hygiene_in(self.service(service))
    }

    fn hygiene_in(&self, service: Option<&ServicePlan>) -> HygienePlan {
        let own = service.map(|service| service.hygiene).unwrap_or_default();
        own.over(self.hygiene.over(HygienePlan::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn plan(text: &str) -> Plan {
        config::parse("guard.toml", text).unwrap_or_else(|e| panic!("{}", e.render(false))).plan
    }

    #[test]
    fn the_nearest_timeout_counts() {
        let plan = plan(
            "[services.api]\nendpoints = [\"127.0.0.1:1\"]\nclass = \"mcp\"\ncall_timeout = \"9s\"\n\
             connect_timeout = \"3s\"\n[services.web]\nendpoints = [\"127.0.0.1:2\"]\nclass = \"mcp\"\n\
             [bulkheads.a]\n[bulkheads.b]\ncall_timeout = \"8s\"\nstall_warn = \"4s\"\n\
             timeouts.services.api = { call_timeout = \"7s\" }\n\
             timeouts.services.other = { connect_timeout = \"1s\" }",
        );
        let s = Duration::from_secs;
        let is = |bulkhead, service, connect, call, stall_warn| {
            let wanted = Timeouts { connect, call, stall_warn };
            assert_eq!(plan.timeouts(bulkhead, service), wanted, "{bulkhead} {service}");
        };
        is("a", "api", Some(s(3)), Some(s(9)), STALL_WARN);
        is("a", "web", Some(s(15)), None, STALL_WARN);
        is("a", "other", None, None, STALL_WARN);
        is("b", "api", Some(s(3)), Some(s(7)), s(4));
        is("b", "web", Some(s(15)), Some(s(8)), s(4));
        is("b", "other", Some(s(1)), Some(s(8)), s(4));
    }

    #[test]
    fn the_nearest_hygiene_counts() {
        let plan = plan(
            "[defaults.hygiene]\npeer_closed = \"5s\"\n[services.api]\nendpoints = [\"127.0.0.1:1\"]\n\
             hygiene.mode = \"off\"\n[services.web]\nendpoints = [\"127.0.0.1:2\"]\n\
             hygiene = { keepalive = \"5s\", keepalive_interval = \"1s\" }\n[bulkheads.a]",
        );
        let defaults =
            HygienePlan { peer_closed: Duration::from_secs(5), ..HygienePlan::default() };
        assert_eq!(plan.hygiene_of("other"), defaults);
        assert!(!plan.hygiene_of("api").on);
        let web = plan.hygiene_of("web");
        assert_eq!((web.on, web.peer_closed), (true, Duration::from_secs(5)));
        assert_eq!(web.keepalive_total(), Duration::from_secs(8));
    }
}
