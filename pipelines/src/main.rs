//! `lynceus`
fn main() {}
