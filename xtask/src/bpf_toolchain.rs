//! Finds the compiler and the linker for guard's kernel programs, and says how to run cargo with
//! them. Standard library only: `guard-daemon/build.rs` includes this very file by `#[path]`, so
//! that `cargo build` and `cargo xtask` can never disagree. It must never install or download
//! anything: a missing piece is an error that names the cure.
#![allow(dead_code, unreachable_pub, reason = "each of its two users needs a part of it")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Target of kernel programs on little-endian hosts.
pub const TARGET: &str = "bpfel-unknown-none";
/// Oldest compiler that guard-ebpf builds with; `rust-version` of the workspace.
pub const MIN_RUSTC: (u32, u32) = (1, 95);
/// What every error ends with.
pub const CURE: &str = "run `cargo xtask setup`";

/// A compiler that can build `no_std` programs for [`TARGET`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// For the environment variable `RUSTC`: a compiler with a prebuilt `core` for the target.
    pub rustc: Option<PathBuf>,
    /// Name of the rustup toolchain to run cargo with, if it is not the current one.
    pub toolchain: Option<String>,
    /// Whether `core` must be built first (`-Z build-std=core`).
    pub build_std: bool,
    /// Major version of its LLVM: the linker that reads its bitcode needs the same.
    pub llvm_major: u32,
    /// What it is, for people.
    pub description: String,
}

/// A compiler and a linker: all that the inner build needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BpfToolchain {
    /// The compiler.
    pub compiler: Compiler,
    /// `bpf-linker`.
    pub linker: PathBuf,
}

/// Environment variables whose change makes another choice possible: `build.rs` must name them
/// to cargo in `rerun-if-env-changed`.
pub const ENVIRONMENT: [&str; 5] =
    ["GUARD_BPF_RUSTC", "GUARD_BPF_TOOLCHAIN", "GUARD_BPF_LINKER", "GUARD_TOOLS", "CARGO_HOME"];

impl BpfToolchain {
    /// Finds both pieces. The error says what is missing, where it was looked for, and the cure.
    pub fn find() -> Result<Self, String> {
        Ok(Self { compiler: Compiler::find()?, linker: find_linker()? })
    }

    /// Flags for the compiler. `arch` is the host's (`x86_64`): it decides the layout of
    /// `pt_regs` in aya. `v3` gives the fetching atomics and compare-and-swap (docs/adr/0001).
    pub fn rustflags(&self, arch: &str) -> Vec<String> {
        vec![
            format!("--cfg=bpf_target_arch=\"{arch}\""),
            "-Cdebuginfo=2".to_owned(),
            "-Clink-arg=--btf".to_owned(),
            "-Ctarget-cpu=v3".to_owned(),
            format!("-Clinker={}", self.linker.display()),
        ]
    }

    /// The one target directory of all inner builds, `target/bpf`, found from any path inside
    /// `target` (a build script's `OUT_DIR`). Below `OUT_DIR` itself each of cargo's fingerprints
    /// (build, clippy, release) would compile aya-ebpf and its build tools once more: a minute.
    pub fn target_dir(inside: &Path) -> PathBuf {
        let marked = |dir: &&Path| dir.join("CACHEDIR.TAG").is_file();
        inside.ancestors().find(marked).unwrap_or(inside).join("bpf")
    }

    /// `cargo SUBCOMMAND -p guard-ebpf --release --target …` with everything set that the inner
    /// build needs and nothing left over from an outer cargo. `target_dir` must not be the one
    /// of the outer build, whose lock is held.
    pub fn cargo(&self, subcommand: &str, arch: &str, target_dir: &Path) -> Command {
        let mut command = if let Some(name) = &self.compiler.toolchain {
            let mut rustup = Command::new("rustup");
            rustup.args(["run", name, "cargo"]);
            rustup
        } else {
            Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        };
        command.arg(subcommand);
        if self.compiler.build_std {
            command.args(["-Z", "build-std=core"]);
        }
        command.args(["-p", "guard-ebpf", "--release", "--target", TARGET, "--target-dir"]);
        command.arg(target_dir);
        for name in ["RUSTC", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
            command.env_remove(name);
        }
        if let Some(rustc) = &self.compiler.rustc {
            command.env("RUSTC", rustc);
        }
        // aya-ebpf and guard-ebpf use unstable intrinsics; no other crate may.
        command.env("RUSTC_BOOTSTRAP", "aya_ebpf,guard");
        if self.compiler.build_std {
            // `-Z` flags of cargo itself need it too, and `core` is all unstable features.
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command.env("CARGO_ENCODED_RUSTFLAGS", self.rustflags(arch).join("\u{1f}"));
        command
    }
}

impl Compiler {
    /// Picks, in this order: the one the user named, Debian's BPF standard library, rustup's
    /// nightly with rust-src. A named one that does not work is an error, never passed over.
    pub fn find() -> Result<Self, String> {
        if let Some(rustc) = named("GUARD_BPF_RUSTC") {
            return Self::from_rustc(Path::new(&rustc), "named by GUARD_BPF_RUSTC");
        }
        if let Some(name) = named("GUARD_BPF_TOOLCHAIN") {
            return Self::from_rustup(&name, "named by GUARD_BPF_TOOLCHAIN");
        }
        let debian = Self::from_rustc(Path::new("/usr/bin/rustc"), "Debian's BPF library");
        debian.or_else(|debian| {
            Self::from_rustup("nightly", "rustup's nightly with rust-src").map_err(|nightly| {
                format!(
                    "no compiler for {TARGET}. Tried: GUARD_BPF_RUSTC and GUARD_BPF_TOOLCHAIN (not \
                     set); Debian's ({debian}); rustup's ({nightly}). Cure: {CURE}"
                )
            })
        })
    }

    fn from_rustc(rustc: &Path, why: &str) -> Result<Self, String> {
        let sysroot = output(Command::new(rustc).args(["--print", "sysroot"]))?;
        if !has_core(Path::new(&sysroot)) {
            return Err(format!(
                "{} ({why}) has no `core` for {TARGET} in {sysroot}/lib/rustlib",
                rustc.display()
            ));
        }
        Ok(Self {
            rustc: Some(rustc.to_owned()),
            toolchain: None,
            build_std: false,
            llvm_major: check_version(&output(Command::new(rustc).arg("-vV"))?)
                .map_err(|error| format!("{} ({why}) {error}", rustc.display()))?,
            description: format!("{} ({why})", rustc.display()),
        })
    }

    fn from_rustup(name: &str, why: &str) -> Result<Self, String> {
        let rustc =
            |args: &[&str]| output(Command::new("rustup").args(["run", name, "rustc"]).args(args));
        let sysroot = rustc(&["--print", "sysroot"])?;
        let prebuilt = has_core(Path::new(&sysroot));
        if !prebuilt && !Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").is_dir() {
            return Err(format!(
                "the rustup toolchain `{name}` ({why}) has neither a `core` for {TARGET} nor \
                 rust-src: `rustup component add rust-src --toolchain {name}`"
            ));
        }
        Ok(Self {
            rustc: None,
            toolchain: Some(name.to_owned()),
            build_std: !prebuilt,
            llvm_major: check_version(&rustc(&["-vV"])?)
                .map_err(|error| format!("the rustup toolchain `{name}` ({why}) {error}"))?,
            description: format!("rustup toolchain `{name}` ({why})"),
        })
    }
}

/// Checks the release in `rustc -vV` and returns the major version of its LLVM.
fn check_version(text: &str) -> Result<u32, String> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let release = field("release: ").ok_or("says no release in `rustc -vV`")?;
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse().ok());
    if (numbers.next(), numbers.next()) < (Some(MIN_RUSTC.0), Some(MIN_RUSTC.1)) {
        let (major, minor) = MIN_RUSTC;
        return Err(format!("is rustc {release}: {major}.{minor} or newer is needed"));
    }
    field("LLVM version: ")
        .and_then(|version| version.split('.').next()?.trim().parse().ok())
        .ok_or_else(|| "says no LLVM version in `rustc -vV`".to_owned())
}

/// Where `cargo xtask setup` puts tools: `$GUARD_TOOLS`, `$CARGO_HOME/guard-tools`, or
/// `~/.cargo/guard-tools`.
pub fn tools_dir() -> Result<PathBuf, String> {
    if let Some(dir) = named("GUARD_TOOLS") {
        return Ok(dir.into());
    }
    if let Some(home) = named("CARGO_HOME") {
        return Ok(Path::new(&home).join("guard-tools"));
    }
    let home = named("HOME").ok_or("neither GUARD_TOOLS, CARGO_HOME nor HOME is set: set one")?;
    Ok(Path::new(&home).join(".cargo/guard-tools"))
}

/// `$GUARD_BPF_LINKER`, else the one in [`tools_dir`], else `bpf-linker` in `PATH`.
pub fn find_linker() -> Result<PathBuf, String> {
    if let Some(path) = named("GUARD_BPF_LINKER") {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!("GUARD_BPF_LINKER={} is not a file: name bpf-linker", path.display()))
        };
    }
    let own = tools_dir()?.join("bin/bpf-linker");
    if own.is_file() {
        return Ok(own);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir| dir.join("bpf-linker"))
        .find(|p| p.is_file())
        .ok_or_else(|| format!("bpf-linker is neither {} nor in PATH; {CURE}", own.display()))
}

fn has_core(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()
}

/// An environment variable that is set and not empty.
fn named(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn output(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    command.env_remove("RUSTC").env_remove("RUST_BACKTRACE");
    let output = command.output().map_err(|e| format!("cannot run {shown}: {e}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{shown} failed: {}", text.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
