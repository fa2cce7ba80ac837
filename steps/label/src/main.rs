//! `label`
fn main() {}
