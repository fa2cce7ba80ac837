//! `train`
fn main() {}
