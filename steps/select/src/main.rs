//! `select`
fn main() {}
