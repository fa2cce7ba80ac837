//! `collect`
fn main() {}
