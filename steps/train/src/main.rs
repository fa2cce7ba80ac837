//! `train`: fits one model.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main(
        "Fit one model of the document to the training part of a data set",
        train::run,
    )
}
