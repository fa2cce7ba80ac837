//! `alert`
fn main() {}
