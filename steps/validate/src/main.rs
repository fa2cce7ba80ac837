//! `validate`
fn main() {}
