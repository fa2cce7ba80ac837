//! The program `serve`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use contract::step::start_logging;
use serve::args::ServeArgs;

fn main() -> ExitCode {
    let args = ServeArgs::parse();
    start_logging(args.log);
    match serve::run(&args, |_| ()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The error cannot be printed if standard error is closed.
            drop(writeln!(std::io::stderr(), "error: {error}"));
            ExitCode::from(error.kind.exit_code())
        }
    }
}
