//! `score`: the windows that are due, with the live bundle.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main("Score the windows that are due with the live bundle", score::run)
}
