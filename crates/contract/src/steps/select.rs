//! The flags of `select`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::step::{Common, Port, Stage, StepArgs};

/// Flags of `select`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct SelectArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the split data set from this folder
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Read a fitted model from this folder; repeat for each model of the vote
    #[arg(long, value_name = "DIR", required = true)]
    pub candidate: Vec<PathBuf>,
    /// Use only the candidates of these models, separated by commas; others may be absent
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Write the bundle to this folder
    #[arg(long, value_name = "DIR")]
    pub bundle: PathBuf,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

impl StepArgs for SelectArgs {
    const STAGE: Stage = Stage::Select;
    const EXAMPLE: &'static str = "lynceus step select --document cluster.yaml --dataset dataset --candidate candidate --bundle bundle";

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports =
            vec![Port::new("document", &self.document), Port::new("dataset", &self.dataset)];
        ports.extend(self.candidate.iter().map(|path| Port::new("candidate", path)));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("bundle", &self.bundle)]
    }

    fn is_cached(&self) -> bool {
        true
    }

    fn named_models(&self) -> Vec<&str> {
        self.models.iter().map(String::as_str).collect()
    }
}
