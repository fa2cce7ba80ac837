//! `select`: a bundle of the candidates, calibrated and measured.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main("Calibrate, vote and measure: make a bundle of candidates", select::run)
}
