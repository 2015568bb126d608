//! `guard-bench`: not written yet.

fn main() -> std::process::ExitCode {
    eprintln!("guard-bench: not written yet");
    std::process::ExitCode::FAILURE
}
