//! Kernel modules for the initramfs: those that the tests and guard need, what they depend on, and
//! nothing else. A module that this kernel neither has nor has built in is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::kernels::Kernel;
use crate::cargo;

/// Loaded by the kernel itself when they are asked for, as on any host.
const WANTED: [&str; 16] = [
    // Latency by NFQUEUE.
    "nf_tables",
    "nft_compat",
    "xt_bpf",
    "xt_cgroup",
    "xt_comment",
    "xt_NFQUEUE",
    "nfnetlink_queue",
    // Latency by departure times, and what it is compared with.
    "sch_fq",
    "sch_netem",
    "sch_tbf",
    // `guardctl waits`, and closing sockets.
    "tcp_diag",
    "udp_diag",
    // A disk that forgets what is written to it.
    "null_blk",
    // Networks of the test-bed.
    "veth",
    "dummy",
    "ifb",
];
/// Needed by older kernels only; newer ones do without.
const WHERE_THERE_IS_ONE: [&str; 2] = ["crc32c_generic", "libcrc32c"];

/// Puts the modules into `stage`, decompressed, as `lib/modules/RELEASE` with its lists, and
/// returns all files with their paths below it.
pub(super) fn stage(kernel: &Kernel, stage: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    if stage.exists() {
        fs::remove_dir_all(stage)?;
    }
    let Some(source) = &kernel.modules else { return Ok(Vec::new()) };
    let to = stage.join("lib/modules").join(&kernel.release);
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    let mut compressed: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
    for file in needed(source)? {
        let copy = to.join(&file);
        fs::create_dir_all(copy.parent().context("a module without a directory")?)?;
        fs::copy(source.join(&file), &copy)
            .with_context(|| format!("cannot copy {}", source.join(&file).display()))?;
        for (ending, tool) in [(".xz", "xz"), (".zst", "zstd"), (".gz", "gzip")] {
            if file.ends_with(ending) {
                compressed.entry(tool).or_default().push(copy.clone());
            }
        }
    }
    for (tool, files) in compressed {
        let mut command = Command::new(tool);
        let output = command.arg("-df").args(files).output();
        let output = output.with_context(|| format!("cannot run {tool}: install it"))?;
        ensure!(
            output.status.success(),
            "{tool} could not decompress modules of {}: {}",
            source.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    for list in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        if source.join(list).is_file() {
            fs::copy(source.join(list), to.join(list))?;
        }
    }
    let mut depmod = Command::new("depmod");
    ensure!(
        cargo::succeeds(depmod.arg("-b").arg(stage).arg(&kernel.release))?,
        "depmod failed: see above"
    );
    let mut files = Vec::new();
    collect(&to, stage, &mut files)?;
    Ok(files)
}

/// Files of the wanted modules and of all that they depend on, relative to `source`.
fn needed(source: &Path) -> Result<BTreeSet<String>> {
    let read = |name: &str| {
        let path = source.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let dependencies = Dependencies::parse(&read("modules.dep")?);
    let builtin: BTreeSet<_> = read("modules.builtin")?.lines().map(module_name).collect();
    let mut files = BTreeSet::new();
    for name in WANTED {
        if !builtin.contains(&module_name(name)) {
            let with = dependencies.of(name).with_context(|| {
                format!(
                    "a missing module: {} has no {name}, and the tests need it",
                    source.display()
                )
            })?;
            files.extend(with);
        }
    }
    files.extend(WHERE_THERE_IS_ONE.iter().filter_map(|name| dependencies.of(name)).flatten());
    Ok(files)
}

/// `modules.dep`: the file of each module, and the files of all that it needs.
struct Dependencies(BTreeMap<String, Vec<String>>);

impl Dependencies {
    fn parse(text: &str) -> Self {
        let entries = text.lines().filter_map(|line| line.split_once(':')).map(|(file, needs)| {
            let files = [file].into_iter().chain(needs.split_whitespace()).map(ToOwned::to_owned);
            (module_name(file), files.collect())
        });
        Self(entries.collect())
    }

    fn of(&self, module: &str) -> Option<Vec<String>> {
        self.0.get(&module_name(module)).cloned()
    }
}

/// `nf_tables` of `kernel/net/netfilter/nf-tables.ko.xz`: the kernel takes `-` and `_` for one.
fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split(".ko").next().unwrap_or(name).replace('-', "_")
}

fn collect(dir: &Path, base: &Path, files: &mut Vec<(PathBuf, PathBuf)>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, base, files)?;
        } else {
            files.push((path.strip_prefix(base)?.to_owned(), path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Dependencies, module_name};

    #[test]
    fn a_module_comes_with_what_it_needs() {
        let list = Dependencies::parse(
            "kernel/net/xt-a.ko.xz: kernel/net/x_tables.ko.xz\nkernel/net/x_tables.ko.xz:\n",
        );
        assert_eq!(
            list.of("xt_a").unwrap(),
            ["kernel/net/xt-a.ko.xz", "kernel/net/x_tables.ko.xz"]
        );
        assert_eq!(list.of("none"), None);
        assert_eq!(module_name("kernel/net/sch_fq.ko"), "sch_fq");
    }
}
