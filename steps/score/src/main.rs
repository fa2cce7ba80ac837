//! `score`
fn main() {}
