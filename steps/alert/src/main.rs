//! `alert`: sends messages about alarms that start and end.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main("Tell people what began and what ended", alert::run)
}
