//! guardctl
fn main() {}
