//! A kernel of Debian's in the cache: image and modules, unpacked. It is fetched once and used
//! without a network from then on; nothing of it is ever installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::apt::{self, Apt};
use super::{Debian, Kernel};
use crate::cargo;

/// Leads to the newest kernel of a suite. The cloud kernels have all that is needed here, in a
/// fifth of the size.
const META: &str = "linux-image-cloud-amd64";

/// The kernel from `cache`, fetched if it is not there or `refresh` is wanted.
pub(super) fn ready(debian: &Debian, cache: &Path, refresh: bool) -> Result<Kernel> {
    let dir = cache.join(debian.name);
    let root = dir.join("root");
    if refresh || !root.is_dir() {
        fetch(debian, &dir, &root).with_context(|| {
            format!(
                "no kernel {}. Cure: run this once with a network; or bring {} from a machine \
                 that has it; or name a kernel of your own: --kernel VMLINUZ --modules DIR",
                debian.name,
                root.display()
            )
        })?;
    }
    let release = release(&root)?;
    let modules = root.join("lib/modules").join(&release);
    let images = [root.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
    let vmlinuz = images.into_iter().find(|path| path.is_file());
    Ok(Kernel {
        name: debian.name.to_owned(),
        vmlinuz: vmlinuz.with_context(|| format!("no vmlinuz below {}", root.display()))?,
        modules: Some(modules),
        release,
        role: debian.role,
    })
}

fn fetch(debian: &Debian, dir: &Path, root: &Path) -> Result<()> {
    ensure!(apt::is_there(), "this machine has no apt to fetch Debian's kernels with");
    println!("fetching Debian's kernel {} (25 to 40 MB)", debian.name);
    let apt = Apt::new(debian, &dir.join("apt"))?;
    apt.update()?;
    let packages = packages(&apt)?;
    let new = dir.join("new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    for file in apt.download(&packages)? {
        let mut command = Command::new("dpkg-deb");
        command.arg("-x").arg(&file).arg(&new);
        ensure!(cargo::succeeds(&mut command)?, "cannot unpack {}", file.display());
        fs::remove_file(&file)?;
    }
    // Newer packages have their modules below usr/ alone, where depmod does not look.
    if !new.join("lib").exists() {
        symlink("usr/lib", new.join("lib"))?;
    }
    let mut depmod = Command::new("depmod");
    depmod.arg("-b").arg(&new).arg(release(&new)?);
    ensure!(cargo::succeeds(&mut depmod)?, "depmod failed: see above");
    // In one step, so that what is there is always whole.
    if root.exists() {
        fs::remove_dir_all(root)?;
    }
    fs::rename(&new, root).with_context(|| format!("cannot make {}", root.display()))
}

/// From the meta package to those with the image and the modules.
fn packages(apt: &Apt) -> Result<Vec<String>> {
    let (_, depends) = apt.show(META)?;
    let image = depends.into_iter().find(|name| name.starts_with("linux-image-"));
    let image = image.with_context(|| format!("{META} depends on no linux-image-*"))?;
    let (version, depends) = apt.show(&image)?;
    // Since Linux 7 the package of the image is empty: image, modules, and the lists of what is
    // built in are in packages of their own.
    let part = |name: &String| {
        ["binary", "modules", "base"].iter().any(|part| {
            name.strip_prefix("linux-").is_some_and(|rest| rest.starts_with(&format!("{part}-")))
        })
    };
    let parts: Vec<String> = depends.into_iter().filter(part).collect();
    let packages = if parts.len() == 3 { parts } else { vec![image] };
    println!("{META} is {version}: {}", packages.join(", "));
    Ok(packages)
}

/// The one release below `lib/modules`.
fn release(root: &Path) -> Result<String> {
    let dir = root.join("lib/modules");
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let found: Vec<PathBuf> = entries.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    let [one] = &found[..] else {
        bail!("{} should hold one kernel's modules, not {found:?}", dir.display());
    };
    let name = one.file_name().context("a directory without a name")?;
    Ok(name.to_string_lossy().into_owned())
}
