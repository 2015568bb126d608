//! guardctl: operates guardd. Everything is in the library, where it can be tested.

use std::process::ExitCode;

fn main() -> ExitCode {
    guard_daemon::ctl::run()
}
