//! guardd
fn main() {}
