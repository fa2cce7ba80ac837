//! `deploy`
fn main() {}
