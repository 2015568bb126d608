//! The two sides of a comparison: a bulkhead of a real guardd, and a bare cgroup at the same
//! depth. This process moves between them, so that the very same code on the very same
//! processor is measured; a socket belongs to the cgroup in which it was made.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::cgroup::{ScratchCgroup, mount_point};
use testbed::guardd::{Guardd, GuarddConfig};

use super::paired::Side;

/// Name of the bulkhead and of its only service.
pub(crate) const NAME: &str = "bench";

/// A guardd with one bulkhead, and a bare cgroup.
pub(crate) struct Sides {
    /// The guardd; without one "guarded" is a cgroup like the bare one.
    guardd: Option<Guardd>,
    guarded_inner: PathBuf,
    plain: ScratchCgroup,
    plain_inner: PathBuf,
    home: PathBuf,
}

impl Sides {
    /// Starts guardd; `endpoints` are the service's.
    pub(crate) fn start(endpoints: &[SocketAddr]) -> Result<Self> {
        Self::with(GuarddConfig::simple(&[(NAME, endpoints)], &[NAME]))
    }

    /// Starts guardd with a configuration that has the bulkhead [`NAME`].
    pub(crate) fn with(config: GuarddConfig) -> Result<Self> {
        let mut sides = Self::unguarded()?;
        let guardd = Guardd::start(config)?;
        sides.guarded_inner = guardd.bulkhead(NAME);
        sides.guardd = Some(guardd);
        Ok(sides)
    }

    /// Two cgroups without a guardd.
    pub(crate) fn unguarded() -> Result<Self> {
        let home = home()?;
        let plain = ScratchCgroup::new("plain")?;
        // As deep as a bulkhead.
        let (plain_inner, guarded_inner) = (plain.child("bare")?, plain.child(NAME)?);
        Ok(Self { guardd: None, guarded_inner, plain, plain_inner, home })
    }

    /// The guardd.
    pub(crate) fn guardd(&self) -> Result<&Guardd> {
        self.guardd.as_ref().context("there is no guardd in this benchmark")
    }

    /// The guardd, to be ended and started.
    pub(crate) fn guardd_mut(&mut self) -> Result<&mut Guardd> {
        self.guardd.as_mut().context("there is no guardd in this benchmark")
    }

    /// The cgroup of a side.
    pub(crate) fn cgroup(&self, side: Side) -> &Path {
        match side {
            Side::Guarded => &self.guarded_inner,
            Side::Bare => &self.plain_inner,
        }
    }

    /// Does something while this process is in the cgroup of a side.
    pub(crate) fn inside<T>(&self, side: Side, act: impl FnOnce() -> Result<T>) -> Result<T> {
        enter(self.cgroup(side))?;
        let _back = Back(&self.home);
        act()
    }

    /// Makes one thing on each side; `swapped` says which first.
    pub(crate) fn both<T>(
        &self,
        swapped: bool,
        mut make: impl FnMut() -> Result<T>,
    ) -> Result<(T, T)> {
        if swapped {
            let bare = self.inside(Side::Bare, &mut make)?;
            Ok((self.inside(Side::Guarded, &mut make)?, bare))
        } else {
            let guarded = self.inside(Side::Guarded, &mut make)?;
            Ok((guarded, self.inside(Side::Bare, &mut make)?))
        }
    }

    /// Starts a fault on the bulkhead's service for ten minutes.
    pub(crate) fn inject(&self, effect: &[&str]) -> Result<Value> {
        let mut args = vec!["fault", "inject", "--bulkhead", NAME, "--service", NAME];
        args.extend(["--for", "10m"]);
        args.extend(effect);
        self.guardd()?.ctl_json(&args)
    }

    /// Ends one fault; what became of it.
    pub(crate) fn clear_one(&self, injected: &Value) -> Result<Value> {
        let id = injected["id"].to_string();
        let answer = self.guardd()?.ctl_json(&["fault", "clear", &id])?;
        Ok(answer["faults"][0].clone())
    }

    /// Ends all faults.
    pub(crate) fn clear(&self) -> Result<()> {
        self.guardd()?.ctl_json(&["fault", "clear", "--all"]).map(drop)
    }

    /// Stops guardd and checks that nothing is left.
    pub(crate) fn finish(self) -> Result<()> {
        if let Some(guardd) = self.guardd {
            guardd.finish()?;
        }
        self.plain.remove()
    }
}

/// Does something while this process is in a cgroup.
pub(crate) fn enter_for<T>(cgroup: &Path, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let home = home()?;
    enter(cgroup)?;
    let _back = Back(&home);
    act()
}

struct Back<'a>(&'a Path);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        if let Err(error) = enter(self.0) {
            eprintln!("guard-bench stays in a cgroup of its own: {error:#}");
        }
    }
}

fn enter(cgroup: &Path) -> Result<()> {
    let procs = cgroup.join("cgroup.procs");
    fs::write(&procs, std::process::id().to_string())
        .with_context(|| format!("cannot write {}", procs.display()))
}

/// The cgroup of this process.
fn home() -> Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let home = mount_point()?.join(path.context("this process is in no cgroup2")?);
    ensure!(home.is_dir(), "{} is not there: is this a container?", home.display());
    Ok(home)
}
