//! `guard-demo`: shows guard at work on this kernel, with real processes and numbers measured on
//! the spot. Started by `cargo xtask demo`; everything is in `../demo`.

#[path = "../demo/mod.rs"]
mod demo;

fn main() -> std::process::ExitCode {
    demo::main()
}
