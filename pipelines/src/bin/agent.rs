//! `agent`: what `lynceus agent` does, as a program for the pods of nodes that links nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    pipelines::cli::agent_main()
}
