//! `label`: turns a scenario log into labels.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main("Turn a scenario log into labels with guard bands", label::run)
}
