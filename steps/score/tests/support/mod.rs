//! A store, a live model, and windows to score.

#![allow(dead_code, reason = "each test program uses a part of it")]

#[path = "../../../../tests/support/small_model.rs"]
pub(crate) mod small_model;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use contract::read_json;
use contract::score::{LateTicks, WindowScore};
use contract::step::Common;
use contract::steps::ScoreArgs;
use frames::FeatureTable;
use serde_json::Value;
use small_model::{bundle, candidate, document, features, minute};
use store::{Change, FolderStore, Registry, Watermark, scores, watermark};

pub(crate) struct Scorer {
    temp: tempfile::TempDir,
}

impl Scorer {
    /// A store whose live model was trained on a hundred quiet minutes, scored up to minute 100.
    pub(crate) fn new() -> Self {
        let scorer = Self::without_model();
        let train = features(&(0..100).collect::<Vec<_>>(), &[""], &[]);
        scorer.promote(&train, minute(100));
        scorer.begin(100);
        scorer
    }

    /// Like `new`, but scored up to another minute, and with more lines in the document.
    pub(crate) fn begun_at(number: i64, more: &str) -> Self {
        let scorer = Self::without_model();
        scorer.add_to_document(more);
        scorer.promote(&features(&(0..100).collect::<Vec<_>>(), &[""], &[]), minute(100));
        scorer.begin(number);
        scorer
    }

    /// Adds to the document's last section, `scoring`.
    pub(crate) fn add_to_document(&self, more: &str) {
        let path = self.path("cluster.yaml");
        let text = fs_err::read_to_string(&path).unwrap();
        let text = text.trim_end().strip_suffix('}').unwrap();
        fs_err::write(&path, format!("{text}, {more}}}\n")).unwrap();
    }

    pub(crate) fn without_model() -> Self {
        let temp = tempfile::tempdir().unwrap();
        document(&temp.path().join("cluster.yaml")).unwrap();
        Self { temp }
    }

    pub(crate) fn store(&self) -> FolderStore {
        FolderStore::open(&self.path("store")).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn promote(&self, train: &FeatureTable, now: contract::Timestamp) -> String {
        let (folder, fitted) = (self.path("bundle"), self.path("candidate"));
        candidate(&fitted, train).unwrap();
        bundle(&folder, &fitted, &self.path("cluster.yaml"), train, now).unwrap();
        let store = self.store();
        let registry = Registry::new(&store, "cluster");
        let version = registry.put_version(&folder).unwrap();
        self.point("live", &version, now);
        version
    }

    /// Points an alias at a version.
    pub(crate) fn point(&self, alias: &str, version: &str, now: contract::Timestamp) {
        let store = self.store();
        let registry = Registry::new(&store, "cluster");
        let change = Change { alias, version, now, by: "test", why: "a test" };
        registry.promote(&change, registry.alias(alias).unwrap().as_ref()).unwrap();
    }

    /// Returns the hashes of the objects in the store, except the record of late ticks, which
    /// depends on how windows were divided into ticks.
    pub(crate) fn hashes_but_of_the_clock(&self) -> BTreeMap<String, String> {
        let mut hashes = small_model::hashes(&self.path("store")).unwrap();
        hashes.remove(&store::state::key("cluster", LateTicks::NAME));
        hashes
    }

    /// Resets the watermark, as if the tick had been killed before it moved the watermark.
    pub(crate) fn set_back(&self, before: &Watermark) {
        let current = watermark::read(&self.store(), "cluster").unwrap().unwrap();
        watermark::write(&self.store(), "cluster", before, Some(&current.etag)).unwrap();
    }

    pub(crate) fn watermark(&self) -> Watermark {
        watermark::read(&self.store(), "cluster").unwrap().unwrap().value
    }

    pub(crate) fn begin(&self, scored_to: i64) {
        watermark::write(&self.store(), "cluster", &Watermark::new(minute(scored_to)), None)
            .unwrap();
    }

    pub(crate) fn args(&self, features: &FeatureTable, now: i64) -> ScoreArgs {
        features.write(&self.path("features.parquet")).unwrap();
        ScoreArgs {
            document: self.path("cluster.yaml"),
            features: self.path("features.parquet"),
            samples: None,
            coverage: None,
            model_cache: None,
            no_model_hint: None,
            store: self.path("store").to_string_lossy().into_owned(),
            now: minute(now),
            scored: self.path("scored.json"),
            shard: None,
            common: Common::default(),
        }
    }

    pub(crate) fn output(&self, features: &FeatureTable, now: i64) -> Output {
        self.run(&self.args(features, now))
    }

    pub(crate) fn run(&self, args: &ScoreArgs) -> Output {
        Command::new(env!("CARGO_BIN_EXE_score"))
            .current_dir(self.temp.path())
            .args(contract::step::command_line(args).unwrap())
            .output()
            .unwrap()
    }

    /// Runs a tick, which must succeed, and returns its result.
    pub(crate) fn tick(&self, features: &FeatureTable, now: i64) -> Value {
        self.tick_with(&self.args(features, now))
    }

    pub(crate) fn tick_with(&self, args: &ScoreArgs) -> Value {
        let output = self.run(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        read_json(&self.path("scored.json")).unwrap()
    }

    /// Runs a tick that must fail and returns its exit code and message.
    pub(crate) fn refusal(&self, features: &FeatureTable, now: i64) -> (Option<i32>, String) {
        let output = self.output(features, now);
        assert!(!self.path("scored.json").exists(), "no half-told story");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Returns the version that is live.
    pub(crate) fn live_version(&self) -> String {
        let store = self.store();
        Registry::new(&store, "cluster").alias("live").unwrap().unwrap().version
    }

    pub(crate) fn window(&self, number: i64) -> WindowScore {
        scores::read(&self.store(), "cluster", minute(number)).unwrap().unwrap()
    }
}
