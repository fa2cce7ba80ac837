//! A pipeline of two varying features and one z-score model, small enough to compute by hand.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use contract::artifact::{sha256, write_file};
use contract::bundle::{CandidateManifest, FileRecord, Provenance};
use contract::{FeatureColumn, FeatureContract, Span, Timestamp, write_json};
use detectors::z_score::ZScore;
use frames::{FeatureTable, Table};
use models::{Candidate, Recipe, Scaler, Scaling, assemble};

/// Names of the features; the third is not a feature of the model.
pub(crate) const COLUMNS: [&str; 2] = ["memory_used_bytes", "cpu_busy_ratio"];

/// 2026-11-21T08:00:00Z plus this number of minutes.
pub(crate) fn minute(number: i64) -> Timestamp {
    Timestamp::from_ms(1_795_248_000_000) + Span::from_seconds(60 * number)
}

/// Writes the pipeline's document.
pub(crate) fn document(path: &Path) -> Result<()> {
    let text = "format: 1\nname: cluster\nstep: 1m\nrange: 1d\nsources: {main: {recording: {path: r}, \
                queries: [{name: load, promql: node_load1}]}}\nfeatures: [raw]\nmodels: {z_score: {}}\n\
                vote: {combine: votes, threshold: {quantile: {share: 0.99}}}\n\
                scoring: {delay: 0s, catch_up: 1d}\n";
    Ok(write_file(path, text.as_bytes())?)
}

/// Returns rows for the minutes and entities; in the minutes of `anomalous` the first feature is
/// far outside of its range.
pub(crate) fn features(minutes: &[i64], entities: &[&str], anomalous: &[i64]) -> FeatureTable {
    let wave = |minute: i64, entity: usize, factor: i64| {
        let phase = i64::try_from(entity).unwrap_or(0) * 13;
        ((minute * factor + phase).rem_euclid(97)) as f64 / 97.0
    };
    let mut table = Table::empty(COLUMNS);
    table.entities = entities.iter().map(ToString::to_string).collect();
    for &number in minutes {
        for entity in 0..entities.len() {
            table.times.push(minute(number));
            table.entity.push(u32::try_from(entity).unwrap_or(0));
            let jump = if anomalous.contains(&number) { 5.0 } else { 0.0 };
            table.columns[0].values.push(wave(number, entity, 31) + jump);
            table.columns[1].values.push(wave(number, entity, 57));
        }
    }
    let describe = |name: &str| FeatureColumn {
        name: name.to_owned(),
        unit: String::new(),
        formula: name.to_owned(),
    };
    FeatureTable {
        contract: FeatureContract {
            format: FeatureContract::FORMAT,
            step: Span::from_seconds(60),
            lookback: Span::ZERO,
            fill: "none".into(),
            columns: COLUMNS.map(describe).to_vec(),
        },
        warm_up: vec![false; table.rows()],
        table,
        labels: None,
    }
}

/// Writes a candidate folder with a z-score model of the rows.
pub(crate) fn candidate(folder: &Path, rows: &FeatureTable) -> Result<CandidateManifest> {
    let scaler = Scaler::fit(models::matrix(rows).view(), Scaling::ZScore);
    let model = models::save(&ZScore::new(scaler, 3.0))?;
    let manifest = CandidateManifest {
        format: CandidateManifest::FORMAT,
        kind: "z_score".into(),
        seed: 7,
        parameters: serde_json::json!({"threshold": 3.0}),
        contract_sha256: rows.contract.sha256()?,
        rows: rows.rows() as u64,
        trials: Vec::new(),
        cross_validation: None,
        training: None,
        model: FileRecord { file: "model.safetensors".into(), sha256: sha256(&model) },
    };
    write_file(&folder.join("model.safetensors"), &model)?;
    write_json(&folder.join(CandidateManifest::FILE), &manifest)?;
    Ok(manifest)
}

/// Makes a bundle folder of a candidate that was fitted on the rows, for the pipeline of a document.
pub(crate) fn bundle(
    folder: &Path,
    candidate: &Path,
    document: &Path,
    rows: &FeatureTable,
    train_end: Timestamp,
) -> Result<()> {
    let document = document::read(document)?;
    let recipe = Recipe {
        pipeline: document.name,
        vote: document.vote,
        normal: document.labels.normal,
        provenance: Provenance {
            version: "0.1.0".into(),
            dataset_sha256: String::new(),
            train_start: minute(0),
            train_end,
            train_rows: rows.rows() as u64,
        },
        threads: 1,
    };
    Ok(assemble(vec![Candidate::read(candidate)?], rows, recipe)?.write(folder)?)
}

/// Returns the files of a folder with their hashes.
pub(crate) fn hashes(folder: &Path) -> Result<BTreeMap<String, String>> {
    let files = contract::artifact::files_below(folder)?;
    files
        .into_iter()
        .map(|file| Ok((file.clone(), contract::artifact::sha256_path(&folder.join(file))?)))
        .collect()
}
