//! `feature`: creates one row of features per window and entity.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main("Compute one row of features per window and entity", feature::run)
}
