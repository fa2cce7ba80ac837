//! `lynceus`: everything Lynceus does, in one program for a laptop.

use std::process::ExitCode;

fn main() -> ExitCode {
    pipelines::cli::main()
}
