//! The program `lynceus`: makes plans from documents, and runs them.

pub mod argo;
pub mod cli;
pub mod find;
pub mod plan;
pub mod run;
pub mod tick_files;
pub mod train;

mod score;
mod shipped;
