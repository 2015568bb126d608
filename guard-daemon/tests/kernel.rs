//! The kernel side against the real kernel: needs root.

use guard_daemon::kernel::{Kernel, LoadOptions};

#[test]
fn root_every_program_passes_the_verifier() {
    let mut kernel = Kernel::load(LoadOptions { pairs: 100, endpoints: 100 }).unwrap();
    kernel.verify_gates().unwrap();
    for (name, count) in kernel.verified_instructions() {
        println!("{name} {count}");
    }
    assert!(kernel.knows_errors());
}
