//! The program `lynceus`: the command line, and the runner that runs plans as processes.

pub mod cli;
pub mod find;
pub mod run;
pub mod tick_files;

mod shipped;
