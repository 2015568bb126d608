//! Attaches the programs to a bulkhead's cgroup and tells them whose it is.
#![allow(deprecated, reason = "cgroup storage works from 5.18 on; its successor needs 6.2")]

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use aya::maps::{CgroupStorage, cgroup_storage::CgroupStorageKey};
use aya::programs::links::{CgroupAttachMode, FdLink};
use aya::programs::{Program, ProgramError};

use super::error::{KernelError, cause_chain};
use super::load::{KNOWS_BULKHEAD, Kernel, PROGRAMS};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn boxed(error: impl std::error::Error + Send + Sync + 'static) -> BoxError {
    Box::new(error)
}

/// The programs of one bulkhead. Dropping it detaches them.
pub struct Attached {
    links: Vec<FdLink>,
}

impl Attached {
    /// How many programs are attached.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }
}

impl Kernel {
    /// Attaches all programs to the cgroup and gives it its identity. All or nothing: after an
    /// error nothing is attached.
    ///
    /// `cgroup_id` is the inode number of the cgroup's directory.
    pub fn attach(
        &mut self,
        cgroup: &impl AsFd,
        cgroup_id: u64,
        path: &Path,
        bulkhead: u32,
    ) -> Result<Attached, KernelError> {
        let mut links = Vec::with_capacity(PROGRAMS.len());
        for (name, attach_type) in PROGRAMS {
            let link = self.attach_one(name, cgroup.as_fd()).map_err(|e| KernelError::Attach {
                program: name,
                cgroup: path.display().to_string(),
                detail: cause_chain(e.as_ref()),
            })?;
            links.push(link);
            if !KNOWS_BULKHEAD.contains(&name) {
                continue;
            }
            // Until this is written the program sees "no bulkhead" and lets everything pass.
            let map = self
                .ebpf
                .map_mut("BULKHEAD")
                .ok_or(KernelError::Missing { what: "map", name: "BULKHEAD" })?;
            let mut storage: CgroupStorage<_, u64> =
                map.try_into().map_err(KernelError::map("BULKHEAD", "opening"))?;
            storage
                .insert(CgroupStorageKey::new(cgroup_id, attach_type), u64::from(bulkhead), 0)
                .map_err(KernelError::map("BULKHEAD", "writing an identity"))?;
        }
        Ok(Attached { links })
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
