//! `guard-bench`: measures guard against bare traffic on this kernel (`cargo xtask bench`).

use std::process::ExitCode;

#[path = "../bench/mod.rs"]
mod bench;

fn main() -> ExitCode {
    match bench::main() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
