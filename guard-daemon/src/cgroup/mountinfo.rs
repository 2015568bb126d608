//! The table of mounts (`/proc/PID/mountinfo`), as far as cgroups need it. Pure: text in, rows out.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// One row that mounts a cgroup file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CgroupMount {
    /// Directory of the hierarchy that is mounted; `/` is all of it.
    pub(super) root: PathBuf,
    /// Where.
    pub(super) mount_point: PathBuf,
    /// Options of this mount contain `ro`.
    pub(super) read_only: bool,
    /// `cgroup2`, not `cgroup`.
    pub(super) v2: bool,
}

/// All cgroup mounts of the table, in its order. Rows that are not understood are no cgroup mounts.
pub(super) fn cgroup_mounts(table: &[u8]) -> Vec<CgroupMount> {
    table.split(|b| *b == b'\n').filter_map(parse_row).collect()
}

/// `36 35 98:0 /root /point rw,noatime master:1 - type source superoptions`
fn parse_row(row: &[u8]) -> Option<CgroupMount> {
    let fields: Vec<&[u8]> = row.split(|b| *b == b' ').filter(|f| !f.is_empty()).collect();
    let separator = fields.iter().skip(6).position(|f| *f == b"-")? + 6;
    let v2 = match *fields.get(separator + 1)? {
        b"cgroup2" => true,
        b"cgroup" => false,
        _ => return None,
    };
    Some(CgroupMount {
        root: unescape(fields[3]),
        mount_point: unescape(fields[4]),
        read_only: fields[5].split(|b| *b == b',').any(|option| option == b"ro"),
        v2,
    })
}

/// The kernel writes space, tab, newline, backslash (and `#`) as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'\\'
            && let Some(value) = tail.get(..3).and_then(octal)
        {
            out.push(value);
            rest = &tail[3..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

fn octal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(root: &str, point: &str) -> CgroupMount {
        CgroupMount { root: root.into(), mount_point: point.into(), read_only: false, v2: true }
    }

    #[test]
    fn hybrid_table() {
        let table = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:3 master:1 - cgroup2 cgroup2 rw\n";
        let rows = cgroup_mounts(table);
        assert_eq!(rows.len(), 2);
        assert!(!rows[0].v2);
        assert_eq!(rows[1], v2("/", "/sys/fs/cgroup/unified"));
    }

    #[test]
    fn octal_escapes_and_read_only() {
        let table =
            b"41 31 0:38 /a\\040b /mnt/c\\134d\\011e\\012f ro,nosuid - cgroup2 cgroup2 rw\n";
        let rows = cgroup_mounts(table);
        assert_eq!(rows, [CgroupMount { read_only: true, ..v2("/a b", "/mnt/c\\d\te\nf") }]);
        // Three digits that are no byte, and a lone backslash, stay as they are.
        assert_eq!(unescape(b"a\\777b\\"), PathBuf::from("a\\777b\\"));
    }

    #[test]
    fn a_name_like_the_type_is_not_the_type() {
        let table = b"1 2 0:3 / /cgroup2 rw - tmpfs cgroup2 rw\n\nnonsense\n1 2 3 4 5 6 -\n";
        assert_eq!(cgroup_mounts(table), []);
    }
}
