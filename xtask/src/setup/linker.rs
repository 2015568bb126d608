//! bpf-linker: looks whether the one in use runs, builds it otherwise. It never replaces a
//! linker that the user named in `GUARD_BPF_LINKER`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};

use super::apt;
use super::piece::State;
use crate::bpf_toolchain::{Compiler, find_linker, tools_dir};
use crate::cargo;

/// Exactly this one: docs/adr/0001.
const VERSION: &str = "0.13.0";
/// Versions of LLVM that it has a feature for.
const LLVM: std::ops::RangeInclusive<u32> = 21..=23;

pub(crate) fn check() -> State {
    found().into()
}

fn found() -> Result<String, String> {
    let linker = find_linker()?;
    // Running it shows at once whether the LLVM library that it needs is still there.
    let output = Command::new(&linker)
        .arg("--version")
        .output()
        .map_err(|e| format!("{} does not run: {e}", linker.display()))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || !version.starts_with("bpf-linker") {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} does not run: {}", linker.display(), text.trim()));
    }
    if linker == own()? {
        if version != format!("bpf-linker {VERSION}") {
            return Err(format!("{} is {version}, not {VERSION}", linker.display()));
        }
        // Without a stamp someone has put it there by hand, and will know why.
        let built_for = fs::read_to_string(stamp()?).unwrap_or_default();
        let needed = format!("llvm-{}", Compiler::find()?.llvm_major);
        if !built_for.is_empty() && built_for.trim() != needed {
            return Err(format!(
                "{} was built for {}, and the compiler has {needed}",
                linker.display(),
                built_for.trim()
            ));
        }
    }
    Ok(format!("{version} at {}", linker.display()))
}

pub(crate) fn install(may_use_apt: bool) -> Result<()> {
    ensure!(
        env::var_os("GUARD_BPF_LINKER").is_none_or(|value| value.is_empty()),
        "GUARD_BPF_LINKER names a linker that does not work (see above): correct or unset it"
    );
    let llvm = Compiler::find().map_err(|error| anyhow!(error))?.llvm_major;
    ensure!(
        LLVM.contains(&llvm),
        "bpf-linker {VERSION} knows LLVM {LLVM:?}, and the BPF compiler has LLVM {llvm}: name \
         another compiler in GUARD_BPF_TOOLCHAIN, or a matching linker in GUARD_BPF_LINKER"
    );
    let packages = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
    let needed = [&packages[0], &packages[1], "zlib1g-dev", "libzstd-dev"].map(|p: &str| p);
    let missing = apt::missing(&needed);
    if !missing.is_empty() {
        println!("      first the LLVM {llvm} that it is linked with (about 600 MB)");
        apt::install(&missing, may_use_apt).with_context(|| {
            format!(
                "without the development files of LLVM {llvm} bpf-linker cannot be built; a \
                 released binary of bpf-linker {VERSION} in GUARD_BPF_LINKER would do"
            )
        })?;
    }
    println!("      building bpf-linker {VERSION} for LLVM {llvm} (1 to 3 minutes)");
    let tools = tools_dir().map_err(|error| anyhow!(error))?;
    let mut command = cargo::cargo(&["install", "bpf-linker", "--version", VERSION, "--locked"])?;
    command.args(["--force", "--no-default-features", "--features", &format!("llvm-{llvm}")]);
    command.arg("--root").arg(&tools);
    // Without it llvm-sys takes Debian's oldest LLVM and does not link.
    command.env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}"));
    // The environment of the outer `cargo run` is not meant for this build.
    command.env_remove("CARGO_TARGET_DIR").stdin(Stdio::null());
    ensure!(cargo::succeeds(&mut command)?, "bpf-linker could not be built: see above");
    let stamp = stamp().map_err(|error| anyhow!(error))?;
    fs::write(&stamp, format!("llvm-{llvm}\n"))
        .with_context(|| format!("cannot write {}", stamp.display()))
}

fn own() -> Result<PathBuf, String> {
    Ok(tools_dir()?.join("bin/bpf-linker"))
}

/// Says which LLVM our own linker was built for.
fn stamp() -> Result<PathBuf, String> {
    Ok(Path::new(&tools_dir()?).join("bpf-linker.llvm"))
}
