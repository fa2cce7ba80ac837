//! `report`: what a run did and what the scores say, on one page.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main("Write a page that shows a run and its scores", report::run)
}
