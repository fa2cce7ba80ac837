//! `alert`: tells people what began and what ended.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::step::main("Tell people what began and what ended", alert::run)
}
