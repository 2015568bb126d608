//! Builds guard-ebpf for the kernel and tells where the object is (`GUARD_EBPF_OBJECT`).
//!
//! An inner cargo with a target directory of its own: aya-build cannot pass `-Ctarget-cpu=v3`,
//! without which there are no fetching atomics (docs/adr/0001).

use std::path::PathBuf;

#[path = "../xtask/src/bpf_toolchain.rs"]
mod bpf_toolchain;

fn main() {
    for path in
        ["../guard-ebpf", "../guard-common/src", "../xtask/src/bpf_toolchain.rs", "../Cargo.lock"]
    {
        println!("cargo::rerun-if-changed={path}");
    }
    for key in bpf_toolchain::ENVIRONMENT {
        println!("cargo::rerun-if-env-changed={key}");
    }
    match build() {
        Ok(object) => println!("cargo::rustc-env=GUARD_EBPF_OBJECT={}", object.display()),
        Err(why) => {
            for line in why.lines() {
                println!("cargo::error={line}");
            }
            std::process::exit(1);
        }
    }
}

fn env(key: &str) -> Result<String, String> {
    std::env::var(key).map_err(|e| format!("{key}: {e}; run this through cargo"))
}

fn build() -> Result<PathBuf, String> {
    let toolchain = bpf_toolchain::BpfToolchain::find()?;
    let target_dir = PathBuf::from(env("OUT_DIR")?).join("ebpf");
    let mut command = toolchain.cargo("build", &env("CARGO_CFG_TARGET_ARCH")?, &target_dir);
    command.args(["--locked", "--quiet"]).current_dir("..");
    let output = command.output().map_err(|e| format!("running {command:?}: {e}"))?;
    if !output.status.success() {
        return Err(format!(
            "building the kernel programs with {} failed:\n{}",
            toolchain.compiler.description,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(target_dir.join(bpf_toolchain::TARGET).join("release/guard"))
}
