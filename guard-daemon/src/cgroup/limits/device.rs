//! The number of the disk that a path means: a block device's own, or that of the one under a file
//! system. Only looks; a device that comes later has its number then.

use std::path::Path;

use nix::sys::stat::{SFlag, major, minor, stat};

use super::Refusal;
use crate::cgroup::Hierarchy;

/// `MAJOR:MINOR` of the whole disk, as `io.max` names it.
///
/// # Errors
/// Why there is none, and what to do.
pub(super) fn number(path: &Path) -> Result<String, Refusal> {
    let shown = path.display();
    let found = stat(path).map_err(|errno| {
        Refusal::new(
            format!("{shown} cannot be looked at: {errno}"),
            "correct `device`; lsblk lists them",
        )
    })?;
    let is_device = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFBLK;
    let device = if is_device { found.st_rdev } else { found.st_dev };
    let own = format!("{}:{}", major(device), minor(device));
    // Memory, networks, overlays, and file systems that span devices have a number of no device.
    if major(device) == 0 {
        return Err(Refusal::new(
            format!("{shown} is on no block device that the kernel could tell (it says {own})"),
            "name the device itself: lsblk lists them",
        ));
    }
    let sys = Path::new("/sys/dev/block").join(&own);
    if !sys.join("partition").exists() {
        return Ok(own);
    }
    // The directory of a partition lies in that of its disk.
    let disk = sys.canonicalize().ok().and_then(|sys| {
        let text = std::fs::read_to_string(sys.parent()?.join("dev")).ok()?;
        Some(text.trim().to_owned())
    });
    disk.ok_or_else(|| {
        Refusal::new(
            format!("{shown} is a partition, and /sys does not say of which disk"),
            "name the disk instead",
        )
    })
}

/// Whether some device shares itself out by `io.weight`: its cost model is on, which the host's
/// operator decides.
pub fn are_weighed(hierarchy: &Hierarchy) -> bool {
    let text = std::fs::read_to_string(hierarchy.mount_point().join("io.cost.qos"));
    text.unwrap_or_default().lines().any(|line| line.contains("enable=1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_block_device_is_refused_with_the_reason() {
        for (path, part) in
            [("/proc", "on no block device"), ("/nowhere/at/all", "cannot be looked at")]
        {
            let refusal = number(Path::new(path)).unwrap_err();
            assert!(refusal.why.contains(part), "{refusal:?}");
            assert!(refusal.cure.contains("lsblk"), "{refusal:?}");
        }
    }
}
