//! A pipeline with a data set and real bundles of one small model each.

#[path = "../../../../tests/support/small_model.rs"]
mod small_model;

use std::path::{Path, PathBuf};

use anyhow::Result;
use contract::artifact::{sha256, write_file};
use contract::bundle::Provenance;
use contract::rules::{Combine, QuantileThreshold, Threshold, Vote};
use contract::step::Common;
use contract::steps::DeployArgs;
use contract::{Decimal, FeatureColumn, FeatureContract, Span};
use frames::{Column, Dataset, FeatureTable, RowLabels, Table};
use models::{Candidate, Recipe, ScoreState, assemble};
pub(crate) use small_model::minute;
use store::{FolderStore, Registry};

pub(crate) struct Pipeline {
    temp: tempfile::TempDir,
    labelled: bool,
    columns: [&'static str; 2],
}

impl Pipeline {
    pub(crate) fn new(labelled: bool, gate: &str) -> Result<Self> {
        let columns = ["memory_used_bytes", "cpu_busy_ratio"];
        let pipeline = Self { temp: tempfile::tempdir()?, labelled, columns };
        pipeline.document(gate)?;
        std::fs::create_dir(pipeline.folder().join("dataset"))?;
        pipeline.dataset().write(&pipeline.folder().join("dataset"))?;
        Ok(pipeline)
    }

    /// Changes the features from here on.
    pub(crate) fn change_contract(&mut self) -> Result<()> {
        self.columns = ["memory_used_bytes", "load"];
        Ok(self.dataset().write(&self.folder().join("dataset"))?)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.temp.path()
    }

    pub(crate) fn store(&self) -> Result<FolderStore> {
        Ok(FolderStore::open(&self.folder().join("store"))?)
    }

    pub(crate) fn document(&self, gate: &str) -> Result<()> {
        let text = format!(
            "format: 1\nname: cluster\nstep: 1m\nrange: 1d\nsources: {{main: {{recording: {{path: r}}, \
             queries: [{{name: load, promql: node_load1}}]}}}}\nfeatures: [{{raw: {{columns: ['*']}}}}]\n\
             models: {{z_score: {{}}}}\nvote: {{combine: votes, threshold: {{quantile: {{share: 0.99}}}}}}\n\
             gate: {gate}\n"
        );
        Ok(write_file(&self.folder().join("cluster.yaml"), text.as_bytes())?)
    }

    pub(crate) fn args(&self, bundle: &str, now: i64) -> DeployArgs {
        DeployArgs {
            document: self.folder().join("cluster.yaml"),
            bundle: vec![self.folder().join(bundle)],
            dataset: vec![self.folder().join("dataset")],
            run: None,
            store: format!("file://{}", self.folder().join("store").display()),
            now: minute(now),
            deployment: self.folder().join("deployment.json"),
            common: Common::default(),
        }
    }

    /// Writes a bundle that weighs the first feature `blindness` times less than it should: above
    /// about 10 it misses every anomaly of the test part.
    pub(crate) fn bundle(&self, name: &str, blindness: f64) -> Result<PathBuf> {
        let Dataset { train, validation, .. } = self.dataset();
        let mut seen = train.clone();
        seen.table.columns[0].values.iter_mut().for_each(|value| *value *= blindness);
        let candidate = self.folder().join(format!("{name}-candidate"));
        small_model::candidate(&candidate, &seen)?;
        let vote = Vote {
            combine: Combine::Votes,
            weights: std::collections::BTreeMap::new(),
            learn_weights: false,
            best_by: None,
            alarm_at: Decimal::ONE,
            smoothing: Span::ZERO,
            threshold: Threshold::Quantile(QuantileThreshold { share: 0.99 }),
        };
        let recipe = Recipe {
            pipeline: "cluster".into(),
            vote,
            normal: vec!["normal".into()],
            provenance: Provenance {
                version: "0.1.0".into(),
                dataset_sha256: sha256(name.as_bytes()),
                train_start: minute(0),
                train_end: minute(99),
                train_rows: 100,
            },
            threads: 1,
        };
        let candidate = Candidate::read(&candidate)?;
        let mut bundle = assemble(vec![candidate], &validation, recipe)?;
        bundle.set_metrics(
            "validation",
            bundle.measure(&validation, &ScoreState::default(), &["normal".into()], 1)?,
        );
        let folder = self.folder().join(name);
        bundle.write(&folder)?;
        Ok(folder)
    }

    /// Puts a version into the registry as `deploy` names it.
    pub(crate) fn version(&self, bundle: &str) -> Result<String> {
        let scratch = FolderStore::open(&self.folder().join("scratch"))?;
        Ok(Registry::new(&scratch, "cluster").put_version(&self.folder().join(bundle))?)
    }

    fn dataset(&self) -> Dataset {
        Dataset {
            train: self.part(0, false),
            validation: self.part(100, false),
            test: self.part(200, true),
        }
    }

    /// A hundred minutes of two varying features; with anomalies, the first one leaves its range in
    /// ten of them.
    fn part(&self, start: i64, anomalies: bool) -> FeatureTable {
        let anomalous = |row: i64| anomalies && (40..50).contains(&row);
        let wave = |row: i64, factor: i64| ((row * factor) % 97) as f64 / 97.0;
        let first = |row: i64| wave(start + row, 31) + if anomalous(row) { 5.0 } else { 0.0 };
        let column = |name: &str, values: Vec<f64>| Column { name: name.to_owned(), values };
        let describe = |name: &str| FeatureColumn {
            name: name.to_owned(),
            unit: String::new(),
            formula: name.to_owned(),
        };
        let label = |row| if anomalous(row) { "memory_stress" } else { "normal" }.to_owned();
        FeatureTable {
            contract: FeatureContract {
                format: FeatureContract::FORMAT,
                step: Span::from_seconds(60),
                lookback: Span::ZERO,
                fill: "none".into(),
                columns: self.columns.map(describe).to_vec(),
            },
            table: Table {
                times: (0..100).map(|row| minute(start + row)).collect(),
                entity: vec![0; 100],
                entities: vec![String::new()],
                columns: vec![
                    column(self.columns[0], (0..100).map(first).collect()),
                    column(self.columns[1], (0..100).map(|row| wave(start + row, 57)).collect()),
                ],
            },
            warm_up: vec![false; 100],
            labels: self.labelled.then(|| RowLabels {
                label: (0..100).map(label).collect(),
                scenario: vec![String::new(); 100],
                excluded: vec![false; 100],
            }),
        }
    }
}
