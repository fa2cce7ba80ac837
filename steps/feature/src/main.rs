//! `feature`
fn main() {}
