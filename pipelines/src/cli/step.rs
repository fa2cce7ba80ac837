//! `lynceus step`: runs the code of a step's image in this program.

mod sample;

use std::ffi::OsStr;

use contract::step;
use contract::steps::StepCommand;

use crate::run::RUNNER;

pub(super) use sample::{SampleCli, execute as of_sample, is_of_sample};

/// Runs the code of a command's step, which is the function `run` of its crate.
macro_rules! run {
    (($command:ident) $(#[$about:meta] $name:ident: $step:ident($args:ident),)*) => {
        match $command {
            $(StepCommand::$step(args) => step::execute(args, $name::run),)*
        }
    };
}

/// Runs a step and returns its exit code.
pub(crate) fn execute(command: &StepCommand) -> u8 {
    if !tie_to_runner() {
        return contract::ErrorKind::Unavailable.exit_code();
    }
    contract::steps!(run(command))
}

/// Makes the kernel kill this process when the runner that started it ends, if there is one: a
/// killed runner is restarted, and two processes must not write the same output. Returns whether
/// the runner is still running.
fn tie_to_runner() -> bool {
    let Some(runner) = std::env::var_os(RUNNER) else { return true };
    let tied =
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    // The runner may have ended before the call above.
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().to_string());
    tied.is_ok() && parent.as_deref().map(OsStr::new) == Some(runner.as_os_str())
}
