//! `guard-demo`: not written yet.

fn main() -> std::process::ExitCode {
    eprintln!("guard-demo: not written yet");
    std::process::ExitCode::FAILURE
}
