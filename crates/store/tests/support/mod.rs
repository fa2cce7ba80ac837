//! Small real bundles.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use contract::artifact::{sha256, write_file, write_json};
use contract::bundle::{BundleManifest, FileRecord, Member, Provenance};
use contract::rules::{Combine, QuantileThreshold, Threshold, Vote};
use contract::{Decimal, FeatureColumn, FeatureContract, Span, Timestamp};

pub(crate) const PIPELINE: &str = "cluster";

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap_or(Timestamp::from_ms(0))
}

/// Writes a bundle with one member, whose parameters are `bytes`.
pub(crate) fn write_bundle(folder: &Path, train_end: Timestamp, bytes: &[u8]) -> Result<PathBuf> {
    let record = |file: &str, bytes: &[u8]| -> Result<FileRecord> {
        write_file(&folder.join(file), bytes)?;
        Ok(FileRecord { file: file.to_owned(), sha256: sha256(bytes) })
    };
    let column = FeatureColumn { name: "load".into(), unit: String::new(), formula: "load".into() };
    let manifest = BundleManifest {
        format: BundleManifest::FORMAT,
        pipeline: PIPELINE.to_owned(),
        parts: Vec::new(),
        division: None,
        contract: FeatureContract {
            format: FeatureContract::FORMAT,
            step: Span::from_seconds(60),
            lookback: Span::ZERO,
            fill: "none".into(),
            columns: vec![column],
        },
        vote: Vote {
            combine: Combine::Votes,
            weights: BTreeMap::new(),
            learn_weights: false,
            best_by: None,
            alarm_at: Decimal::ONE,
            smoothing: Span::ZERO,
            threshold: Threshold::Quantile(QuantileThreshold { share: 0.99 }),
        },
        members: vec![Member {
            kind: "z_score".into(),
            model: record("z_score.safetensors", bytes)?,
            seed: 7,
            parameters: serde_json::json!({"threshold": 3.0}),
            threshold: 1.0,
            levels: None,
        }],
        reference: record("reference.json", b"{}\n")?,
        combined_threshold: None,
        combined_levels: None,
        memory: None,
        memory_before_test: None,
        diagnosis: None,
        classify: None,
        metrics: BTreeMap::new(),
        provenance: Provenance {
            version: "0.1.0".into(),
            dataset_sha256: sha256(b"dataset"),
            train_start: train_end - Span::from_seconds(600),
            train_end,
            train_rows: 10,
        },
    };
    write_json(&folder.join(BundleManifest::FILE), &manifest)?;
    Ok(folder.to_owned())
}
