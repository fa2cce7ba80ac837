//! `validate`: the gate between features and training.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main(
        "Check features against expectations and split them by time",
        validate::run,
    )
}
