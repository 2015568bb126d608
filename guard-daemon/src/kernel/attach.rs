//! Attaches the programs to a bulkhead's cgroup and tells them whose it is.
#![allow(deprecated, reason = "cgroup storage works from 5.18 on; its successor needs 6.2")]

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use aya::maps::{CgroupStorage, cgroup_storage::CgroupStorageKey};
use aya::programs::links::{CgroupAttachMode, FdLink};
use aya::programs::{Program, ProgramError};

use guard_common::abi::creation;

use super::error::{KernelError, cause_chain};
use super::load::{KNOWS_BULKHEAD, Kernel, PROGRAMS};
use super::pins::{make_directory, remove_links};
use super::syscall::{link_program, open_pinned, update_link};

/// Attach type of `guard_socket` (`BPF_CGROUP_INET_SOCK_CREATE`).
const CREATION: u32 = 2;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn boxed(error: impl std::error::Error + Send + Sync + 'static) -> BoxError {
    Box::new(error)
}

/// The programs of one bulkhead. Those that are not pinned are detached when it is dropped, those
/// that are by [`Attached::detach`] alone.
pub struct Attached {
    links: Vec<FdLink>,
    /// Directory of the pinned links.
    pinned: Option<PathBuf>,
    /// How many programs an earlier life had attached.
    taken_over: usize,
}

impl Attached {
    /// How many programs are attached.
    pub fn len(&self) -> usize {
        if self.pinned.is_some() { PROGRAMS.len() } else { self.links.len() }
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether an earlier life had attached them.
    pub fn is_taken_over(&self) -> bool {
        self.taken_over == PROGRAMS.len()
    }

    /// Detaches all.
    pub fn detach(self) -> Result<(), KernelError> {
        let Some(directory) = &self.pinned else { return Ok(()) };
        remove_links(directory).map_err(|source| KernelError::Io {
            what: "detaching from a cgroup",
            path: directory.display().to_string(),
            source,
        })
    }
}

impl Kernel {
    /// Attaches all programs to the cgroup and gives it its identity. All or nothing: after an
    /// error nothing is attached. Where an earlier life has left its programs, ours take their
    /// places one by one, without a packet or a call between that meets none or two.
    ///
    /// `cgroup_id` is the inode number of the cgroup's directory, `kinds` are the kinds of sockets
    /// that the bulkhead may make, as bits.
    pub fn attach(
        &mut self,
        cgroup: &impl AsFd,
        cgroup_id: u64,
        path: &Path,
        bulkhead: u32,
        kinds: u32,
    ) -> Result<Attached, KernelError> {
        let pinned = self.pins.as_ref().map(|pins| pins.links_of(cgroup_id));
        let mut attached = Attached { links: Vec::new(), pinned, taken_over: 0 };
        match self.attach_all(
            cgroup.as_fd(),
            cgroup_id,
            path,
            creation::identity(bulkhead, kinds),
            &mut attached,
        ) {
            Ok(()) => Ok(attached),
            Err(error) => {
                if let Err(problem) = attached.detach() {
                    tracing::error!(%problem, "after a failed attachment");
                }
                Err(error)
            }
        }
    }

    fn attach_all(
        &mut self,
        cgroup: BorrowedFd<'_>,
        cgroup_id: u64,
        path: &Path,
        identity: u64,
        attached: &mut Attached,
    ) -> Result<(), KernelError> {
        if let Some(directory) = &attached.pinned {
            make_directory(directory)?;
        }
        for (name, attach_type) in PROGRAMS {
            self.attach_or_take_over(name, cgroup, attached).map_err(|e| KernelError::Attach {
                program: name,
                cgroup: path.display().to_string(),
                detail: cause_chain(e.as_ref()),
            })?;
            if !KNOWS_BULKHEAD.contains(&name) {
                continue;
            }
            // Until this is written the program sees "no bulkhead" and lets everything pass.
            self.identify(cgroup_id, attach_type, identity)?;
        }
        Ok(())
    }

    /// Changes the kinds of sockets that a bulkhead may make, from its next socket on.
    pub fn set_socket_kinds(
        &mut self,
        cgroup_id: u64,
        bulkhead: u32,
        kinds: u32,
    ) -> Result<(), KernelError> {
        self.identify(cgroup_id, CREATION, creation::identity(bulkhead, kinds))
    }

    /// Writes what the program of this type sees of the cgroup. The upper half is for the hook at
    /// the creation of sockets; the others read the lower half alone.
    fn identify(
        &mut self,
        cgroup_id: u64,
        attach_type: u32,
        identity: u64,
    ) -> Result<(), KernelError> {
        let map = self
            .ebpf
            .map_mut("BULKHEAD")
            .ok_or(KernelError::Missing { what: "map", name: "BULKHEAD" })?;
        let mut storage: CgroupStorage<_, u64> =
            map.try_into().map_err(KernelError::map("BULKHEAD", "opening"))?;
        storage
            .insert(CgroupStorageKey::new(cgroup_id, attach_type), identity, 0)
            .map_err(KernelError::map("BULKHEAD", "writing an identity"))
    }

    fn attach_or_take_over(
        &mut self,
        name: &'static str,
        cgroup: BorrowedFd<'_>,
        attached: &mut Attached,
    ) -> Result<(), BoxError> {
        let Some(pin) = attached.pinned.as_ref().map(|directory| directory.join(name)) else {
            attached.links.push(self.attach_one(name, cgroup)?);
            return Ok(());
        };
        let left = pin.exists();
        if left {
            match self.take_over(name, &pin) {
                Ok(()) => {
                    attached.taken_over += 1;
                    return Ok(());
                }
                // The cgroup may have been removed and made again: the link leads nowhere.
                Err(error) => {
                    tracing::warn!(program = name, pin = %pin.display(), %error, "attached anew");
                }
            }
        }
        let link = self.attach_one(name, cgroup)?;
        if left {
            std::fs::remove_file(&pin).map_err(boxed)?;
        }
        // The descriptor is closed at once: the file alone keeps the link.
        link.pin(&pin).map_err(boxed)?;
        Ok(())
    }

    /// Gives the link that is pinned there our program.
    ///
    /// The kernel keeps the storage that it made for the link's first program, and kernels before
    /// 6.1.191 and 6.12.110 do not compare: a program that finds none there brings the host down.
    fn take_over(&self, name: &'static str, pin: &Path) -> Result<(), BoxError> {
        let link = open_pinned(pin)?;
        let old = link_program(link.as_fd())?;
        if KNOWS_BULKHEAD.contains(&name) && !self.identified.contains(&old) {
            return Err("the program there knows no bulkhead, or by another map".into());
        }
        let program = self.ebpf.program(name).ok_or(ProgramError::NotLoaded).map_err(boxed)?;
        let fd = program.fd().map_err(boxed)?;
        update_link(link.as_fd(), fd.as_fd()).map_err(boxed)
    }

    fn attach_one(
        &mut self,
        name: &'static str,
        cgroup: BorrowedFd<'_>,
    ) -> Result<FdLink, BoxError> {
        // Links of cgroup programs always allow others beside them; any other mode is refused by
        // kernels from 5.7 on.
        let mode = CgroupAttachMode::Single;
        match self.ebpf.program_mut(name) {
            Some(Program::CgroupSockAddr(p)) => {
                let id = p.attach(cgroup, mode).map_err(boxed)?;
                Ok(p.take_link(id).map_err(boxed)?.try_into().map_err(boxed)?)
            }
            Some(Program::SockOps(p)) => {
                let id = p.attach(cgroup, mode).map_err(boxed)?;
                Ok(p.take_link(id).map_err(boxed)?.try_into().map_err(boxed)?)
            }
            Some(Program::CgroupSkb(p)) => {
                let attach_type = p
                    .expected_attach_type()
                    .ok_or(ProgramError::UnexpectedProgramType)
                    .map_err(boxed)?;
                let id = p.attach(cgroup, attach_type, mode).map_err(boxed)?;
                Ok(p.take_link(id).map_err(boxed)?.try_into().map_err(boxed)?)
            }
            Some(Program::CgroupSock(p)) => {
                let id = p.attach(cgroup, mode).map_err(boxed)?;
                Ok(p.take_link(id).map_err(boxed)?.try_into().map_err(boxed)?)
            }
            _ => Err(boxed(ProgramError::NotLoaded)),
        }
    }
}
