//! `select`: a bundle of the candidates, calibrated and measured.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main(
        "Make a bundle from candidates: calibrate scores, choose thresholds, \
         compute metrics",
        select::run,
    )
}
