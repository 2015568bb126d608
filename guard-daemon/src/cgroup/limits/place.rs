//! Where in a cgroup's files one value stands. Most files hold one value; `io.weight` has a line
//! for the default and one for each device that differs, `io.max` a line for each device with four
//! limits. A place is the file's name, then, where there is one, the first word of the line and the
//! name of the field: `memory.max`, `io.weight default`, `io.max 8:0 rbps`. The undo log keeps
//! places, so that their form must not change.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::device;
use super::{Refusal, Setting};
use crate::cgroup::walk::{read_file, write_file};
use std::path::PathBuf;

/// What the kernel says for a field of a device without a limit.
const UNLIMITED: &str = "max";

/// Which part of its file a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The line of the devices that have none of their own.
    Default,
    /// One limit of one device.
    Device {
        /// A block device, or a path on the file system of one.
        device: PathBuf,
        /// The limit, such as `rbps`.
        field: &'static str,
    },
}

impl Setting {
    /// Where it is written.
    ///
    /// # Errors
    /// Why its device is none, and what to do.
    pub fn place(&self) -> Result<String, Refusal> {
        Ok(match &self.part {
            Part::Whole => self.file.to_owned(),
            Part::Default => format!("{} default", self.file),
            Part::Device { device, field } => {
                format!("{} {} {field}", self.file, device::number(device)?)
            }
        })
    }

    /// What people call it: the key and, if it is about one, the device: `io_max /dev/vda rbps`.
    pub fn name(&self) -> String {
        match &self.part {
            Part::Whole | Part::Default => self.key.to_owned(),
            Part::Device { device, field } => format!("{} {} {field}", self.key, device.display()),
        }
    }
}

/// The file of a place.
pub(super) fn file_of(place: &str) -> &str {
    place.split(' ').next().unwrap_or(place)
}

/// What stands there.
pub(super) fn read(dir: &OwnedFd, place: &str) -> Result<String, Errno> {
    let text = read_file(dir, file_of(place))?;
    pick(&text, place).ok_or(Errno::EINVAL)
}

/// Writes what shall stand there.
pub(super) fn write(dir: &OwnedFd, place: &str, value: &str) -> Result<(), Errno> {
    let mut words = place.splitn(3, ' ').skip(1);
    let text = match (words.next(), words.next()) {
        (None, _) => value.to_owned(),
        (Some(line), None) => format!("{line} {value}"),
        (Some(line), Some(field)) => format!("{line} {field}={value}"),
    };
    write_file(dir, file_of(place), &text)
}

fn pick(text: &str, place: &str) -> Option<String> {
    let mut words = place.splitn(3, ' ').skip(1);
    let Some(line) = words.next() else { return Some(text.trim().to_owned()) };
    let rest = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    let Some(field) = words.next() else { return Some(rest?.trim().to_owned()) };
    let value = rest.and_then(|rest| {
        rest.split(' ').find_map(|word| word.strip_prefix(field)?.strip_prefix('='))
    });
    Some(value.unwrap_or(UNLIMITED).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_in_its_line_and_field() {
        let max = "8:16 rbps=2097152 wbps=max riops=max wiops=120\n8:1 rbps=7 wbps=1\n";
        for (text, place, wanted) in [
            ("max\n", "memory.max", Some("max")),
            ("50000 100000\n", "cpu.max", Some("50000 100000")),
            ("default 50\n8:16 200\n", "io.weight default", Some("50")),
            ("", "io.weight default", None),
            (max, "io.max 8:16 rbps", Some("2097152")),
            (max, "io.max 8:16 wiops", Some("120")),
            (max, "io.max 8:16 wbps", Some("max")),
            // Neither the line of a device whose number begins alike, nor the field of a like name.
            (max, "io.max 8:1 rbps", Some("7")),
            (max, "io.max 8:1 bps", Some("max")),
            (max, "io.max 8:2 rbps", Some("max")),
            ("", "io.max 8:0 riops", Some("max")),
        ] {
            assert_eq!(pick(text, place).as_deref(), wanted, "{place} of {text:?}");
        }
    }
}
