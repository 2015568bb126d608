//! Where one run happens: a bulkhead of a guardd of its own, or a bare cgroup.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tempfile::TempDir;
use testbed::cgroup::ScratchCgroup;
use testbed::guardd::{Guardd, GuarddConfig};

use crate::bench::paired::Side;

/// Name of the bulkhead, of its agent, and of the bare cgroup.
pub(super) const NAME: &str = "work";

/// One side of one failure.
pub(super) struct Lane {
    guardd: Option<Guardd>,
    plain: ScratchCgroup,
    cgroup: PathBuf,
    files: TempDir,
}

impl Lane {
    /// `body`: the configuration without `[daemon]`, from a directory for files; it has the bulkhead
    /// [`NAME`].
    pub(super) fn start(side: Side, body: impl FnOnce(&Path) -> String) -> Result<Self> {
        let files = tempfile::Builder::new().prefix("guard-healing-").tempdir()?;
        let plain = ScratchCgroup::new("plain")?;
        let (guardd, cgroup) = match side {
            Side::Guarded => {
                let guardd = Guardd::start(GuarddConfig::new(body(files.path())))?;
                let cgroup = guardd.bulkhead(NAME);
                (Some(guardd), cgroup)
            }
            Side::Bare => (None, plain.child(NAME)?),
        };
        Ok(Self { guardd, plain, cgroup, files })
    }

    /// The cgroup of the agent.
    pub(super) fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// Files of this run.
    pub(super) fn files(&self) -> &Path {
        self.files.path()
    }

    /// Whether guard is there.
    pub(super) fn is_guarded(&self) -> bool {
        self.guardd.is_some()
    }

    /// Ends the agents, and guardd, which must leave nothing.
    pub(super) fn finish(self) -> Result<()> {
        if let Some(guardd) = self.guardd {
            // They would go on without it.
            let said = guardd.ctl(&["agent", "stop", "--all"])?;
            ensure!(said.code == 0, "agents go on: {}{}", said.stdout, said.stderr);
            guardd.finish()?;
        }
        self.plain.remove()
    }
}
