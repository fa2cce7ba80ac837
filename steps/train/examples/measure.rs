//! Measures fitting and scoring on a file of numbers: `measure ROWS.f64 COLUMNS [THREADS]`.
//!
//! The file holds rows of little-endian doubles. `examples/measure.py` makes one, runs scikit-learn
//! and PyTorch on the same rows and prints both sides with their ratios. Figures are JSON lines:
//! wall seconds, medians of several runs; peak memory after each.

use std::time::Instant;

use anyhow::{Context as _, Result};
use document::models::{Autoencoder, IsolationForest, OneClassSvm, Scaling};
use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use models::Detector;
use ndarray::{Array2, Axis};
use train::autoencoder::AutoencoderParams;
use train::isolation_forest::IsolationForestParams;
use train::one_class_svm::OneClassSvmParams;

const RUNS: usize = 5;
const MANY: usize = 1_000_000;

fn main() -> Result<()> {
    let mut flags = std::env::args().skip(1);
    let path = flags.next().context("a file of numbers")?;
    let columns: usize = flags.next().context("the number of columns")?.parse()?;
    let threads: usize = flags.next().map_or(Ok(1), |text| text.parse())?;
    let only = flags.next();
    let values: Vec<f64> = fs_err::read(path)?
        .chunks_exact(8)
        .map(|word| f64::from_le_bytes(word.try_into().unwrap_or_default()))
        .collect();
    let rows = Array2::from_shape_vec((values.len() / columns, columns), values)?;
    let rows = DatasetBase::new(rows, ());
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("svm") {
        let settings = OneClassSvm { scaling: Scaling::ZScore, ..OneClassSvm::default() };
        let params = OneClassSvmParams::new(settings, 0, threads);
        let fitted = measured("one_class_svm fit", RUNS, || params.fit(&rows))?;
        score("one_class_svm score", &fitted.model, rows.records(), threads)?;
    }
    if wanted("forest") {
        let params = IsolationForestParams::new(IsolationForest::default(), 0, threads);
        let forest = measured("isolation_forest fit", RUNS, || params.fit(&rows))?;
        let repeated: Vec<usize> = (0..MANY).map(|row| row % rows.records().nrows()).collect();
        let many = rows.records().select(Axis(0), &repeated);
        score("isolation_forest score 1M", &forest, &many, threads)?;
    }
    if wanted("autoencoder") {
        let params = AutoencoderParams::new(Autoencoder::default(), 0, None);
        let fitted = measured("autoencoder fit", RUNS, || params.fit(&rows))?;
        score("autoencoder score", &fitted.model, rows.records(), threads)?;
    }
    Ok(())
}

fn score(name: &str, model: &dyn Detector, rows: &Array2<f64>, threads: usize) -> Result<()> {
    measured(name, RUNS, || anyhow::Ok(model.decision(rows.view(), threads))).map(drop)
}

#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn measured<T, E>(name: &str, runs: usize, work: impl Fn() -> Result<T, E>) -> Result<T>
where
    E: Into<anyhow::Error>,
{
    let mut seconds = Vec::new();
    let mut last = None;
    for _ in 0..runs {
        let start = Instant::now();
        last = Some(work().map_err(Into::into)?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let memory = contract::outcome::peak_memory_bytes() as f64 / 1024.0 / 1024.0;
    let median = seconds[seconds.len() / 2];
    println!("{{\"work\": \"{name}\", \"seconds\": {median:.4}, \"peak_mib\": {memory:.1}}}");
    last.context("at least one run")
}
