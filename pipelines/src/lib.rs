//! The program `lynceus`: a document becomes a plan, and a plan is run.

pub mod argo;
pub mod cli;
pub mod find;
pub mod plan;
pub mod run;
pub mod scored;
pub mod train;

mod score;
mod shipped;
