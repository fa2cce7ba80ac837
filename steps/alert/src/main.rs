//! `alert`: sends messages about alarms that start and end.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main("Send messages about alerts that started or ended", alert::run)
}
