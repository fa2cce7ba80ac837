//! Two steps of a tick over a small model, without a source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use contract::step::Common;
use contract::steps::{AlertArgs, ScoreArgs, StepCommand};
use serde_json::Value;
use store::{Change, FolderStore, Registry, Watermark, watermark};

use super::small_model::{self, bundle, candidate, document, features, minute};

/// A store with a live model that was scored to minute 100, and features of the minutes that
/// follow.
pub(crate) struct Place {
    temp: tempfile::TempDir,
}

impl Place {
    /// Makes it with this number of minutes.
    pub(crate) fn new(minutes: i64) -> anyhow::Result<Self> {
        let place = Self { temp: tempfile::tempdir()? };
        let file = place.path("cluster.yaml");
        document(&file)?;
        // The tests vary how windows are divided into ticks, so messages about paused scoring are
        // off.
        let alerts = "alerts: {for: 2, resolve_after: 2, cool_down: 3m, kinds: [anomaly, no_data], channels: [{file: {path: told.jsonl}}]}\n";
        fs_err::write(&file, fs_err::read_to_string(&file)? + alerts)?;
        let train = features(&(0..100).collect::<Vec<_>>(), &[""], &[]);
        candidate(&place.path("candidate"), &train)?;
        bundle(&place.path("bundle"), &place.path("candidate"), &file, &train, minute(100))?;
        let store = place.store()?;
        let registry = Registry::new(&store, "cluster");
        let version = registry.put_version(&place.path("bundle"))?;
        let now = minute(100);
        let change = Change { alias: "live", version: &version, now, by: "test", why: "a test" };
        registry.promote(&change, None)?;
        watermark::write(&store, "cluster", &Watermark::new(minute(100)), None)?;
        // Six anomalous minutes, then six normal ones, for one of two entities.
        let anomalous: Vec<i64> = (100..=100 + minutes).filter(|m| m / 6 % 2 == 1).collect();
        let all: Vec<i64> = (101..=100 + minutes).collect();
        features(&all, &["a"], &anomalous).write(&place.path("features.parquet"))?;
        Ok(place)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn store(&self) -> anyhow::Result<FolderStore> {
        Ok(FolderStore::open(&self.path("store"))?)
    }

    pub(crate) fn score(&self, number: i64) -> StepCommand {
        StepCommand::Score(ScoreArgs {
            document: self.path("cluster.yaml"),
            features: self.path("features.parquet"),
            samples: None,
            coverage: None,
            store: self.path("store").to_string_lossy().into_owned(),
            now: minute(number),
            model_cache: None,
            no_model_hint: None,
            scored: self.path("scored.json"),
            shard: None,
            common: Common::default(),
        })
    }

    pub(crate) fn alert(&self, number: i64) -> StepCommand {
        StepCommand::Alert(AlertArgs {
            document: self.path("cluster.yaml"),
            store: self.path("store").to_string_lossy().into_owned(),
            now: minute(number),
            scored: None,
            tick: Vec::new(),
            failed: None,
            ended: Vec::new(),
            messages: self.path("messages.json"),
            shard: None,
            common: Common::default(),
        })
    }

    /// Runs a tick without faults.
    pub(crate) fn tick(&self, number: i64) -> anyhow::Result<()> {
        for step in [self.score(number), self.alert(number)] {
            let output = command(&step)?.output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{}: {said}", step.stage());
        }
        Ok(())
    }

    /// Returns the hashes of scores and watermark.
    pub(crate) fn scored(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let hashes = small_model::hashes(&self.path("store"))?;
        let is_score = |name: &String| name.starts_with("scores/") || name.contains("watermark");
        Ok(hashes.into_iter().filter(|(name, _)| is_score(name)).collect())
    }

    /// Returns the messages that were sent, in order, and how many were sent twice.
    pub(crate) fn told(&self) -> anyhow::Result<(Vec<String>, usize)> {
        let (mut keys, mut told, mut repeated) = (BTreeSet::new(), Vec::new(), 0);
        for line in fs_err::read_to_string(self.path("told.jsonl"))?.lines() {
            let message: Value = serde_json::from_str(line)?;
            if !keys.insert(message["key"].to_string()) {
                repeated += 1;
                continue;
            }
            for alert in message["alerts"].as_array().context("alerts")? {
                let of = ["entity", "kind", "status", "since", "ended"];
                told.push(of.map(|name| alert[name].to_string()).join(" "));
            }
        }
        Ok((told, repeated))
    }
}

pub(crate) fn command(step: &StepCommand) -> anyhow::Result<Command> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lynceus"));
    command.args(["step", step.stage().name()]).args(step.command_line()?);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    Ok(command)
}
