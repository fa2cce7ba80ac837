//! The flags of `alert`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::option;
use crate::resources::Resources;
use crate::step::{Common, Port, Stage, StepArgs};
use crate::{Shard, Timestamp};

/// Flags of `alert`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct AlertArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read scores from this store and keep the alert state and messages in it
    #[arg(long, value_name = "URL")]
    pub store: String,
    /// Evaluation time, for cool-downs and messages
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// Wait for the step that writes this file; the scores themselves are read from the store
    #[arg(long, value_name = "FILE")]
    pub scored: Option<PathBuf>,
    /// Send the cause of stopped scoring from this outcome of a task of the same tick; repeat for
    /// each task, in their order (the file of a task that did not run may be absent)
    #[arg(long, value_name = "FILE", conflicts_with = "ended")]
    pub tick: Vec<PathBuf>,
    /// Send the result of a training instead of alerts about scores, from this outcome of one of
    /// its tasks; repeat for each task, in their order (the file of a task that did not run may be
    /// absent)
    #[arg(long, value_name = "FILE", conflicts_with = "scored")]
    pub ended: Vec<PathBuf>,
    /// Send an alert that this tick failed, and record it in the store for `lynceus status`; the
    /// reason is text, or Argo's JSON list of failures, of which the first cause is used. With
    /// `--ended`, the reason of a training whose outcomes show none
    #[arg(long, value_name = "TEXT", conflicts_with = "scored")]
    pub failed: Option<String>,
    /// Write the messages sent to this JSON file
    #[arg(long, value_name = "FILE")]
    pub messages: PathBuf,
    /// Work only on this part of the entities: shard K of N, such as 0/4
    #[arg(long, value_name = "K/N")]
    pub shard: Option<Shard>,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

impl StepArgs for AlertArgs {
    const STAGE: Stage = Stage::Alert;
    const EXAMPLE: &'static str = "lynceus step alert --document cluster.yaml --store file:///var/lib/lynceus --messages messages.json --now 2026-11-21T08:37:00Z";

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("document", &self.document)];
        ports.extend(option("scored", self.scored.as_ref()));
        ports.extend(self.tick.iter().map(|path| Port::new("tick", path)));
        ports.extend(self.ended.iter().map(|path| Port::new("ended", path)));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("messages", &self.messages)]
    }

    fn shard(&self) -> Option<Shard> {
        self.shard
    }

    fn after_failure(&self, failed: Option<String>) -> Option<Self> {
        let tick = if failed.is_some() { Vec::new() } else { self.tick.clone() };
        Some(Self { scored: None, tick, failed, ..self.clone() })
    }

    fn training_resources(&self) -> Resources {
        Resources { cpu: "20m", memory: "32Mi", memory_limit: "128Mi", ..Resources::TRAINING }
    }

    fn scoring_resources(&self) -> Resources {
        Resources { memory_limit: "128Mi", ..Resources::SCORING }
    }
}
