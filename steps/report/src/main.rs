//! `report`: makes one page about a run and the scores.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main("Write a page that shows a run and its scores", report::run)
}
