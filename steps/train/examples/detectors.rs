//! Measures fitting and scoring: `detectors ROWS.f64 MANY.f64 COLUMNS THREADS [PART]`.
//!
//! The files hold rows of little-endian doubles, to fit on and to score with the forest.
//! `tests/bench/peers.sh` makes them, runs scikit-learn and `PyTorch` on the same rows and prints both
//! sides with their ratios. Figures are JSON lines: medians of several runs in seconds, wall and CPU;
//! peak memory after each.

use std::time::Instant;

use anyhow::{Context as _, Result};
use detectors::Scaling;
use detectors::autoencoder::fit::{AutoencoderParams, NetworkOptions};
use detectors::fit::FitOptions;
use detectors::isolation_forest::fit::IsolationForestParams;
use detectors::one_class_svm::fit::OneClassSvmParams;
use detectors::settings::{Autoencoder, IsolationForest, OneClassSvm};
use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use models::Detector;
use ndarray::Array2;

const RUNS: usize = 5;

fn main() -> Result<()> {
    let mut flags = std::env::args().skip(1);
    let path = flags.next().context("a file of rows")?;
    let many = flags.next().context("a file of many rows")?;
    let columns: usize = flags.next().context("the number of columns")?.parse()?;
    let threads: usize = flags.next().context("the number of threads")?.parse()?;
    let only = flags.next();
    let rows = read(&path, columns)?;
    let rows = DatasetBase::new(rows, ());
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("svm") {
        let settings = OneClassSvm { scaling: Scaling::ZScore, ..OneClassSvm::default() };
        let params = OneClassSvmParams::new(settings, FitOptions { seed: 0, threads });
        let fitted = measured("one_class_svm fit", RUNS, || params.fit(&rows))?;
        score("one_class_svm score", &fitted.model, rows.records(), threads)?;
    }
    if wanted("forest") {
        let params =
            IsolationForestParams::new(IsolationForest::default(), FitOptions { seed: 0, threads });
        let forest = measured("isolation_forest fit", RUNS, || params.fit(&rows))?;
        let many = read(&many, columns)?;
        score("isolation_forest score 1M", &forest, &many, threads)?;
    }
    if wanted("autoencoder") {
        let params = AutoencoderParams::new(
            Autoencoder::default(),
            NetworkOptions { seed: 0, validation: None },
        );
        let fitted = measured("autoencoder fit", RUNS, || params.fit(&rows))?;
        score("autoencoder score", &fitted.model, rows.records(), threads)?;
    }
    Ok(())
}

fn read(path: &str, columns: usize) -> Result<Array2<f64>> {
    let words = fs_err::read(path)?;
    let words = words.chunks_exact(8).map(|word| word.try_into().unwrap_or_default());
    let values: Vec<f64> = words.map(f64::from_le_bytes).collect();
    Ok(Array2::from_shape_vec((values.len() / columns, columns), values)?)
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
    let cpu = cpu_seconds();
    for _ in 0..runs {
        let start = Instant::now();
        last = Some(work().map_err(Into::into)?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    let cpu = (cpu_seconds() - cpu) / runs as f64;
    seconds.sort_by(f64::total_cmp);
    let memory = contract::outcome::peak_memory_bytes() as f64 / 1024.0 / 1024.0;
    let median = seconds[seconds.len() / 2];
    println!(
        "{{\"work\": \"{name}\", \"seconds\": {median:.4}, \"cpu_seconds\": {cpu:.3}, \"peak_mib\": {memory:.1}}}"
    );
    last.context("at least one run")
}

/// CPU time of the process, of all its threads; Linux counts it in hundredths of a second.
fn cpu_seconds() -> f64 {
    let text = fs_err::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
