//! `select`: a bundle of the candidates, calibrated and measured.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main("Make a bundle of candidates: calibrate, combine and measure", select::run)
}
