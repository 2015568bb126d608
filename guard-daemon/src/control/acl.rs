//! Lets owners of bulkheads connect to the control socket: one entry each in its POSIX access
//! list, so that its mode stays 0660 and nobody else gets nearer to it. What they may once they are
//! connected is decided in [`access`](super::access); this opens the door and no more.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use rustix::fs::{XattrFlags, removexattr, setxattr};
use rustix::io::Errno;

/// Where the kernel keeps the list.
const ATTRIBUTE: &str = "system.posix_acl_access";
/// `POSIX_ACL_XATTR_VERSION`.
const VERSION: u32 = 2;
/// Read and write: what connecting takes.
const READ_WRITE: u16 = 0o6;
/// Entries of the kernel's `posix_acl.h`; it wants them in this order.
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// Id of entries that have none.
const NO_ID: u32 = u32::MAX;

/// Lets these users, and no others besides owner and group, connect to the socket.
///
/// # Errors
/// Of the kernel; a file system without access lists gives `EOPNOTSUPP`.
pub fn let_in(socket: &Path, users: &BTreeSet<u32>) -> io::Result<()> {
    if users.is_empty() {
        return match removexattr(socket, ATTRIBUTE) {
            // There is no list, or can be none.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        };
    }
    Ok(setxattr(socket, ATTRIBUTE, &list(users), XattrFlags::empty())?)
}

fn list(users: &BTreeSet<u32>) -> Vec<u8> {
    let mut entries = vec![(USER_OBJ, READ_WRITE, NO_ID)];
    entries.extend(users.iter().map(|uid| (USER, READ_WRITE, *uid)));
    entries.extend([(GROUP_OBJ, READ_WRITE, NO_ID), (MASK, READ_WRITE, NO_ID), (OTHER, 0, NO_ID)]);
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_mode_stays_and_the_list_goes() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o660)).unwrap();
        let mode = || std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
        let users = BTreeSet::from([65_534, 1_000]);
        if let Err(error) = let_in(&socket, &users) {
            assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{error}");
            println!("SKIPPED the_mode_stays_and_the_list_goes: no access lists in {socket:?}");
            return;
        }
        let mut read = [0; 256];
        let length = rustix::fs::getxattr(&socket, ATTRIBUTE, &mut read[..]).unwrap();
        assert_eq!(read[..length], list(&users));
        assert_eq!(mode(), 0o660);
        let_in(&socket, &BTreeSet::new()).unwrap();
        assert!(rustix::fs::getxattr(&socket, ATTRIBUTE, &mut read[..]).is_err());
        let_in(&socket, &BTreeSet::new()).unwrap();
        assert_eq!(mode(), 0o660);
    }
}
