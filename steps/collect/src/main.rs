//! `collect`: fetches raw samples for a time range.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main("Fetch raw samples for a time range", collect::run)
}
