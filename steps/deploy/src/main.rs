//! `deploy`: registers a bundle and promotes it if it is good enough.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main("Register a bundle and promote it if it is good enough", deploy::run)
}
