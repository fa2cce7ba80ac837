//! How well a pipeline's document finds labelled anomalies in tables, through the code of the steps.
//!
//! ```text
//! cargo run --release -p pipelines --example quality -- DIR [--document FILE] [--set FIELD=VALUE]...
//!     [--missing SHARE [--seed NUMBER]] [--json FILE]
//! ```
//!
//! DIR holds a pair of tables for each set, `<set>_train` and `<set>_test`, as `.csv`, `.csv.gz` or
//! `.parquet`: numbers only, a row a step in the order of time, the column `label` of the test table
//! 0 where it is normal. The document's source, queries and labels give way to the tables; what it
//! says of features, models and thresholds is measured. The test part is scored from the end of the
//! training part on, thresholds and all: no figure but ROC-AUC and average precision knows the labels.
//! A text column names entities with `--set sources.rows.table.entity=COLUMN`; a row without a label
//! counts nowhere.
//!
//! With `--missing`, that share of the steps of both tables, drawn at random, has no values: what
//! `feature` sees where a source did not answer. Their labels stay, so the same rows are counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use contract::step::Common;
use contract::steps::{CollectArgs, FeatureArgs, SelectArgs, TrainArgs};
use contract::{Outcome, Span, Timestamp};
use document::{Changes, Document};
use frames::samples::SampleRows;
use frames::{Dataset, FeatureTable, Samples, SamplesWriter};
use models::{Bundle, ScoreState};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// 2026-01-01T00:00:00Z: tables without times begin here.
const START: Timestamp = Timestamp::from_ms(1_767_225_600_000);

/// Share of the training rows that validates.
const VALIDATION: f64 = 0.2;

/// Figures that are shown, in order, with their headings.
const FIGURES: [(&str, &str); 6] = [
    ("roc_auc", "ROC-AUC"),
    ("average_precision", "average precision"),
    ("false_alarm_ratio", "normal alarmed"),
    ("events_found", "events found"),
    ("f1", "F1"),
    ("false_episodes_per_day", "false episodes a day"),
];

/// Measure a document on folders of labelled tables
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with `<set>_train` and `<set>_test` tables
    folder: PathBuf,
    /// Document to measure
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster.yaml"))]
    document: PathBuf,
    /// Change a field of the document, as in `--set profile=aligo`
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// Share of the steps without values, 0 to below 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    missing: f64,
    /// Seed that steps without values are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: u16,
}

type Figures = BTreeMap<String, f64>;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut measured: BTreeMap<String, Figures> = BTreeMap::new();
    for (name, [train, test]) in pairs(&arguments.folder)? {
        let figures = Set { arguments: &arguments, train, test }.measure();
        measured.insert(name.clone(), figures.with_context(|| format!("set `{name}`"))?);
    }
    if measured.is_empty() {
        bail!("`{}` holds no pair of `_train` and `_test` tables", arguments.folder.display());
    }
    let mean = |figure: &str| {
        let values: Vec<f64> =
            measured.values().filter_map(|set| set.get(figure)).copied().collect();
        (figure.to_owned(), values.iter().sum::<f64>() / values.len().max(1) as f64)
    };
    let mean: Figures = FIGURES.iter().map(|(figure, _)| mean(figure)).collect();
    show(&measured, &mean);
    if let Some(path) = &arguments.json {
        contract::write_json(path, &serde_json::json!({"sets": measured, "mean": mean}))?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn show(measured: &BTreeMap<String, Figures>, mean: &Figures) {
    let headings: Vec<String> =
        FIGURES.iter().map(|(_, heading)| format!("{heading:>22}")).collect();
    println!("{:24}{}", "set", headings.concat());
    for (name, figures) in measured.iter().chain([(&"mean".to_owned(), mean)]) {
        let cells = FIGURES.iter().map(|(figure, _)| {
            format!("{:>22.4}", figures.get(*figure).copied().unwrap_or(f64::NAN))
        });
        println!("{name:24}{}", cells.collect::<String>());
    }
}

/// Returns the training and test table of each set, by name.
fn pairs(folder: &Path) -> Result<BTreeMap<String, [PathBuf; 2]>> {
    let mut tables: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem = [".csv", ".csv.gz", ".parquet"].iter().find_map(|end| name.strip_suffix(end));
        if let Some(stem) = stem {
            tables.insert(stem.to_owned(), path);
        }
    }
    let sets = tables.iter().filter_map(|(stem, train)| {
        let name = stem.strip_suffix("_train")?;
        let test = tables.get(&format!("{name}_test"))?;
        Some((name.to_owned(), [train.clone(), test.clone()]))
    });
    Ok(sets.collect())
}

/// One set to be measured.
struct Set<'a> {
    arguments: &'a Arguments,
    train: PathBuf,
    test: PathBuf,
}

impl Set<'_> {
    fn measure(&self) -> Result<Figures> {
        let work = tempfile::tempdir()?;
        let (train, document) = self.features(work.path(), &self.train, START, false)?;
        let end = train.table.times.iter().max().context("the training table is empty")?;
        let (test, _) = self.features(work.path(), &self.test, *end + document.step, true)?;
        let bundle = self.bundle(work.path(), &document, &train)?;
        let threads = usize::from(self.arguments.threads);
        Ok(bundle.measure(&test, &ScoreState::default(), &document.labels.normal, threads)?)
    }

    /// Reads a table as `collect` does and makes its features as `feature` does.
    fn features(
        &self,
        work: &Path,
        table: &Path,
        start: Timestamp,
        labelled: bool,
    ) -> Result<(FeatureTable, Document)> {
        let label = if labelled { "label: label" } else { "label: null" };
        let overlay = work.join("overlay.yaml");
        let others = document::read(&self.arguments.document)?.sources.into_keys();
        let others: Vec<String> = others.map(|name| format!("  {name}: null\n")).collect();
        let others = others.concat();
        let text = format!(
            "sources:\n{others}  rows: {{table: {{path: '{}', start: '{start}', {label}}}}}\nlabels: {{scenarios: null, normal: ['0']}}\n",
            fs_err::canonicalize(table)?.display()
        );
        fs_err::write(&overlay, text)?;
        let changes = Changes {
            overlays: vec![&overlay],
            sets: self.arguments.set.iter().map(String::as_str).collect(),
        };
        let document = document::read_with(&self.arguments.document, &changes)?;
        let file = work.join("document.yaml");
        document::write(&file, &document)?;
        let (samples, features) = (work.join("samples.parquet"), work.join("features.parquet"));
        collect::run(
            &CollectArgs {
                document: file.clone(),
                samples: samples.clone(),
                now: start + Span::from_seconds(86_400 * 3650),
                start: None,
                range: None,
                store: None,
                recorded: None,
                pins: None,
                coverage: None,
                source: Vec::new(),
                record: None,
                shard: None,
                shards: None,
                live: None,
                numbers: None,
                common: self.common(),
            },
            &mut Outcome::start("quality"),
        )?;
        if self.arguments.missing > 0.0 {
            self.thin(&samples, u64::from(labelled))?;
        }
        feature::run(
            &FeatureArgs {
                document: file,
                samples,
                labels: None,
                features: features.clone(),
                common: self.common(),
            },
            &mut Outcome::start("quality"),
        )?;
        Ok((FeatureTable::read(&features)?, document))
    }

    /// Takes the values of some steps, of all entities at once, out of a samples file.
    fn thin(&self, samples: &Path, stream: u64) -> Result<()> {
        let Samples { table, labels } = Samples::read(samples)?;
        let mut random = ChaCha8Rng::seed_from_u64(self.arguments.seed);
        random.set_stream(stream);
        let (mut last, mut missing) = (None, Vec::with_capacity(table.rows()));
        for time in &table.times {
            let is_missing = match last {
                Some((same, is_missing)) if same == *time => is_missing,
                _ => random.random::<f64>() < self.arguments.missing,
            };
            last = Some((*time, is_missing));
            missing.push(is_missing);
        }
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let present = |values: &[f64]| {
            let rows = values.iter().zip(&missing);
            rows.map(|(value, missing)| (!missing).then_some(*value)).collect()
        };
        let rows = SampleRows {
            entities: (0..table.rows()).map(|row| table.entity_of(row).to_owned()).collect(),
            columns: table.columns.iter().map(|column| present(&column.values)).collect(),
            times: table.times.clone(),
            labels: labels.clone().unwrap_or_default(),
        };
        let mut writer = SamplesWriter::create(samples, &names, labels.is_some())?;
        writer.write(&rows)?;
        Ok(writer.publish()?)
    }

    /// Splits the rows as `validate` does, fits every model and makes the bundle.
    fn bundle(&self, work: &Path, document: &Document, rows: &FeatureTable) -> Result<Bundle> {
        let usable: Vec<usize> = (0..rows.rows()).filter(|row| !rows.warm_up[*row]).collect();
        let cut = models::reference::whole(usable.len() as f64 * (1.0 - VALIDATION));
        // As `split.validation` would be set for an hour of minutes.
        let cut = cut.min(usable.len().saturating_sub(contract::least::CALIBRATION_ROWS));
        let (train, validation) = usable.split_at(cut);
        let dataset = Dataset {
            train: rows.select(train),
            validation: rows.select(validation),
            test: rows.select(&[]),
        };
        let folder = work.join("dataset");
        fs_err::create_dir_all(&folder)?;
        dataset.write(&folder)?;
        let file = work.join("document.yaml");
        let mut candidates = Vec::new();
        for kind in document.models.kinds() {
            let candidate = work.join(kind);
            train::run(
                &TrainArgs {
                    document: file.clone(),
                    dataset: folder.clone(),
                    model: kind.to_owned(),
                    seed: document.seed,
                    candidate: candidate.clone(),
                    common: self.common(),
                },
                &mut Outcome::start("quality"),
            )?;
            candidates.push(candidate);
        }
        let bundle = work.join("bundle");
        select::run(
            &SelectArgs {
                document: file,
                dataset: folder,
                candidate: candidates,
                models: Vec::new(),
                bundle: bundle.clone(),
                common: self.common(),
            },
            &mut Outcome::start("quality"),
        )?;
        Ok(Bundle::read(&bundle)?)
    }

    fn common(&self) -> Common {
        Common { threads: self.arguments.threads, ..Common::default() }
    }
}
