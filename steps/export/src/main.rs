//! `export`: publishes scores to other systems.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main("Publish scores to other systems", export::run)
}
