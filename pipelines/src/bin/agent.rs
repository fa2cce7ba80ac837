//! `agent`: the command `lynceus agent` as a separate program for pods on nodes, without the code
//! of other commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    pipelines::cli::agent_main()
}
