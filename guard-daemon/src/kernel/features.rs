//! What this kernel and this process must have, checked before anything is touched.

use std::path::Path;

use super::btf;

/// Oldest kernel that guard runs on: `bpf_set_retval` came with it.
const OLDEST: (u32, u32) = (5, 18);

/// Capabilities that guardd needs: number, name, why.
const CAPABILITIES: [(u32, &str, &str); 3] = [
    (39, "CAP_BPF", "loads the kernel programs"),
    (CAP_NET_ADMIN, "CAP_NET_ADMIN", "attaches them to cgroups and sets up delay queues"),
    (38, "CAP_PERFMON", "reads the errno of failed connects"),
];
const CAP_NET_ADMIN: u32 = 12;
/// Includes all of the above for BPF purposes on every kernel.
const CAP_SYS_ADMIN: u32 = 21;

/// One needed feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Short name.
    pub name: &'static str,
    /// What was found.
    pub found: String,
    /// Why it does not do, and the cure; `None` if it does.
    pub problem: Option<(String, String)>,
}

/// Checks the running kernel and this process.
pub fn check() -> Vec<Feature> {
    vec![kernel_version(), kernel_types(), capabilities()]
}

fn kernel_version() -> Feature {
    let release = nix::sys::utsname::uname()
        .map(|u| u.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    let problem = match parse_release(&release) {
        Some(version) if version >= OLDEST => None,
        _ => Some((
            format!(
                "guard needs Linux {}.{} or newer: older kernels cannot give a refused connect its errno",
                OLDEST.0, OLDEST.1
            ),
            "boot a newer kernel (Debian 12 and newer have one)".to_owned(),
        )),
    };
    Feature { name: "kernel", found: format!("Linux {release}"), problem }
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn kernel_types() -> Feature {
    let there = Path::new(btf::VMLINUX).exists();
    Feature {
        name: "btf",
        found: if there { format!("BTF at {}", btf::VMLINUX) } else { "no BTF".to_owned() },
        problem: (!there).then(|| {
            (
                format!("{} is missing: socket storage needs the kernel's types", btf::VMLINUX),
                "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (all current distributions)"
                    .to_owned(),
            )
        }),
    }
}

fn capabilities() -> Feature {
    let effective = effective_capabilities().unwrap_or(0);
    let has = |number: u32| effective >> number & 1 == 1;
    let missing: Vec<_> = CAPABILITIES
        .iter()
        .filter(|(number, ..)| {
            // CAP_NET_ADMIN is not part of CAP_SYS_ADMIN; the two BPF ones are.
            let implied = *number != CAP_NET_ADMIN && has(CAP_SYS_ADMIN);
            !has(*number) && !implied
        })
        .map(|(_, name, why)| format!("{name} ({why})"))
        .collect();
    Feature {
        name: "capabilities",
        found: if missing.is_empty() {
            CAPABILITIES.map(|(_, name, _)| name).join(" ")
        } else {
            format!("missing {}", missing.join(", "))
        },
        problem: (!missing.is_empty()).then(|| {
            (
                format!("guardd may not do its work: missing {}", missing.join(", ")),
                "run it as root, or with AmbientCapabilities= in its unit".to_owned(),
            )
        }),
    }
}

fn effective_capabilities() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(parse_release("6.1.0-28-amd64"), Some((6, 1)));
        assert_eq!(parse_release("5.18-rc3"), Some((5, 18)));
        assert_eq!(parse_release("weird"), None);
        assert!((5, 17) < OLDEST && (6, 0) > OLDEST);
    }

    #[test]
    fn own_capabilities_can_be_read() {
        assert!(effective_capabilities().is_some());
    }
}
