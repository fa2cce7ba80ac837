//! `lynceus predict`: what a bundle says of the rows of any table, without a store or a watermark;
//! or of the parts of a run's data set.

mod figures;
mod input;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::bundle::BundleManifest;
use contract::score::EntityScore;
use contract::{FeatureContract, StepError, Timestamp, artifact};
use frames::{FeatureTable, Rows, Values};
use fs_err as fs;
use models::classify::ClassBundle;
use models::classify::judge::JudgedRow;
use models::{Bundle, ScoreOptions, ScoreState};
use store::Registry;

use super::context::{Context, DocumentArgs};
use super::{Format, Global, OutputFormat, print, print_json, print_rows, runs, say, score_rows};
use input::Input;
pub(super) use input::{ceiling, range as times};

/// Default share of a row's features that must have a value.
const MIN_COMPLETENESS: f64 = 0.5;

/// Flags of `lynceus predict`.
#[derive(Debug, clap::Args)]
pub(crate) struct PredictArgs {
    /// Pipeline whose live model is used (the name or path of a document), or the folder of a
    /// bundle
    #[arg(value_name = "PIPELINE|BUNDLE")]
    model: String,
    /// Rows to score: a CSV or Parquet file with the model's features, or with the samples of the
    /// document
    #[arg(value_name = "TABLE", required_unless_present = "run", conflicts_with = "run")]
    table: Option<PathBuf>,
    /// Use this version (or its first characters, or an alias) instead of the live one
    #[arg(long, value_name = "VERSION", conflicts_with = "run")]
    version: Option<String>,
    /// Score the data set of this run with its own model: a run's name or its first characters,
    /// `last` or `previous`
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Score only this part of the run; may be repeated
    #[arg(long, value_enum, value_name = "PART", requires = "run")]
    part: Vec<Part>,
    /// Write the rows to this file, `.csv` or `.parquet`, and print only the metrics
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Apply this partial document over the document; may be repeated
    #[arg(long, value_name = "FILE")]
    overlay: Vec<PathBuf>,
    /// Set a field of the document, as in `sources.table.table.delimiter=;`; may be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
}

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Train,
    Validation,
    Test,
}

impl Part {
    const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// A model of either task.
enum Model {
    Anomaly(Box<Bundle>),
    Classes(Box<ClassBundle>),
}

impl Model {
    fn of(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, StepError> {
        let manifest = files.get(BundleManifest::FILE).ok_or_else(|| {
            StepError::refused(format!("the bundle has no `{}`", BundleManifest::FILE))
                .hint("use a folder with `bundle.json`, or a pipeline with a live model")
        })?;
        let manifest: BundleManifest = artifact::parse_json(BundleManifest::FILE, manifest)?;
        if manifest.classify.is_some() {
            return ClassBundle::from_files(files).map(Box::new).map(Self::Classes);
        }
        Bundle::from_files(files).map(Box::new).map(Self::Anomaly)
    }

    fn read(folder: &Path) -> Result<Self, StepError> {
        let read_error = |e: std::io::Error| StepError::reading(folder, &e);
        let mut files = BTreeMap::new();
        for name in artifact::files_below(folder).map_err(read_error)? {
            files.insert(name.clone(), fs::read(folder.join(&name)).map_err(read_error)?);
        }
        Self::of(&files)
    }

    fn contract(&self) -> &FeatureContract {
        match self {
            Self::Anomaly(bundle) => &bundle.manifest().contract,
            Self::Classes(bundle) => bundle.contract(),
        }
    }
}

pub(crate) fn execute(global: &Global, args: &PredictArgs) -> Result<(), StepError> {
    let is_bundle = Path::new(&args.model).is_dir();
    if is_bundle && (args.version.is_some() || args.run.is_some()) {
        return Err(StepError::usage("a bundle's folder has neither versions nor runs")
            .hint("name a pipeline instead of the folder"));
    }
    let context = if is_bundle {
        None
    } else {
        let document = DocumentArgs {
            pipeline: args.model.clone(),
            overlay: args.overlay.clone(),
            set: args.set.clone(),
            sample: false,
        };
        Some(Context::new(global, &document)?)
    };
    if let (Some(run), Some(context)) = (&args.run, &context) {
        return of_run(global, args, context, run);
    }
    let model = match &context {
        Some(context) => live(context, args.version.as_deref())?,
        None => Model::read(Path::new(&args.model))?,
    };
    let table = args.table.as_deref().ok_or_else(|| {
        StepError::usage("no table is named").hint("write it as in lynceus predict PIPELINE TABLE")
    })?;
    let input = Input { context: context.as_ref(), contract: model.contract() };
    let table = input.read(table)?;
    let judged = judge(&model, &table, context.as_ref(), &mut ScoreState::default())?;
    tell(global, args, &judged.rows, || figures::text(&model, &table, &judged, context.as_ref()))
}

/// What a model says of a table.
pub(super) struct Predicted {
    /// A row for each of the table's.
    pub(super) rows: Rows,
    /// Figures for a person.
    pub(super) text: String,
    /// Figures by name; of a table without labels nothing.
    pub(super) metrics: BTreeMap<String, f64>,
}

/// Judges the rows of a table with the bundle in a folder.
///
/// Errors: refused (3) for a file that is not a table, or lacks a column.
pub(super) fn with_bundle(
    context: &Context,
    bundle: &Path,
    table: &Path,
) -> Result<Predicted, StepError> {
    let model = Model::read(bundle)?;
    let input = Input { context: Some(context), contract: model.contract() };
    let table = input.read(table)?;
    let judged = judge(&model, &table, Some(context), &mut ScoreState::default())?;
    let text = figures::text(&model, &table, &judged, Some(context));
    let metrics = figures::metrics(&model, &table, &judged, Some(context));
    Ok(Predicted { rows: judged.rows, text, metrics })
}

/// The verdict on each row, in order.
struct Judged {
    rows: Rows,
    verdicts: Vec<EntityScore>,
    classes: Vec<JudgedRow>,
}

fn judge(
    model: &Model,
    table: &FeatureTable,
    context: Option<&Context>,
    state: &mut ScoreState,
) -> Result<Judged, StepError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let min_completeness =
        context.map_or(MIN_COMPLETENESS, |context| context.document.scoring.min_completeness);
    let times = &table.table.times;
    let mut judged = match model {
        Model::Anomaly(bundle) => {
            let options = ScoreOptions { min_completeness, threads };
            let verdicts = bundle.score(table, state, options)?;
            let alarm_at = bundle.manifest().vote.alarm_at.to_f64();
            let scored: Vec<(Timestamp, &EntityScore)> =
                times.iter().copied().zip(&verdicts).collect();
            let rows = score_rows::of_scores(&scored, Some(alarm_at));
            Judged { rows, verdicts, classes: Vec::new() }
        }
        Model::Classes(bundle) => {
            let classes = bundle.judge(table, threads);
            let rows = class_rows(bundle, table, &classes);
            Judged { rows, verdicts: Vec::new(), classes }
        }
    };
    if let Some(labels) = &table.labels {
        judged.rows.push("label", Values::Texts(labels.label.clone()));
    }
    Ok(judged)
}

fn class_rows(bundle: &ClassBundle, table: &FeatureTable, judged: &[JudgedRow]) -> Rows {
    let names = bundle.model().classes();
    let mut rows = Rows::default();
    rows.push("time", Values::Times(table.table.times.clone()));
    let entities = (0..table.rows()).map(|row| table.table.entity_of(row).to_owned());
    rows.push("entity", Values::Texts(entities.collect()));
    let class = judged.iter().map(|row| figures::likeliest(names, row).0.to_owned());
    rows.push("class", Values::Texts(class.collect()));
    let probability = judged.iter().map(|row| figures::likeliest(names, row).1);
    rows.push("probability", Values::Numbers(probability.collect()));
    rows.push("completeness", Values::Numbers(judged.iter().map(|row| row.completeness).collect()));
    for (index, name) in names.iter().enumerate() {
        let of = |values: &[f64]| values.get(index).copied().unwrap_or(f64::NAN);
        let probabilities = judged.iter().map(|row| of(&row.probabilities)).collect();
        rows.push(format!("probability_{name}"), Values::Numbers(probabilities));
        let distances = judged.iter().map(|row| of(&row.distances)).collect();
        rows.push(format!("distance_{name}"), Values::Numbers(distances));
    }
    rows
}

/// Fetches the live model of a pipeline, or the one that is asked for.
fn live(context: &Context, version: Option<&str>) -> Result<Model, StepError> {
    let (store, name) = (context.store.open()?, &context.document.name);
    let registry = Registry::new(store.as_ref(), name);
    let alias = &context.document.deployment.alias;
    let version = match version {
        Some(version) => registry.resolve(version)?,
        None => registry.alias(alias)?.map(|record| record.version).ok_or_else(|| {
            StepError::refused(format!("no model of `{name}` is `{alias}` yet"))
                .hint(format!("train one: lynceus run {name}"))
        })?,
    };
    Model::of(&registry.fetch(&version, None)?)
}

/// Scores the parts of a run's data set as live scoring would have, from its first row on.
fn of_run(
    global: &Global,
    args: &PredictArgs,
    context: &Context,
    run: &str,
) -> Result<(), StepError> {
    let (folder, _) = runs::find(&context.store, &context.document.name, run)?;
    let model = Model::read(&folder.join("select/bundle"))?;
    let mut state = match &model {
        Model::Anomaly(bundle) => bundle.without_past(),
        Model::Classes(_) => ScoreState::default(),
    };
    let mut rows: Option<Rows> = None;
    let mut texts = Vec::new();
    for part in Part::ALL {
        let file = folder.join(format!("validate/dataset/{}.parquet", part.name()));
        let table = FeatureTable::read(&file)?;
        let mut judged = judge(&model, &table, Some(context), &mut state)?;
        if !args.part.is_empty() && !args.part.contains(&part) {
            continue;
        }
        let text = figures::text(&model, &table, &judged, Some(context));
        texts.push(format!("{}: {text}", part.name()));
        let parts = vec![part.name().to_owned(); table.rows()];
        judged.rows.push("part", Values::Texts(parts));
        rows = Some(match rows {
            None => judged.rows,
            Some(rows) => rows.followed_by(judged.rows)?,
        });
    }
    tell(global, args, &rows.unwrap_or_default(), || texts.concat())
}

/// Shows rows and figures as the flags ask for it.
fn tell(
    global: &Global,
    args: &PredictArgs,
    rows: &Rows,
    text: impl FnOnce() -> String,
) -> Result<(), StepError> {
    if let Some(path) = &args.to {
        rows.write(path)?;
        say(&format!("{} rows in {}", rows.rows(), path.display()));
        return match global.output() {
            OutputFormat::Text => print(&text()),
            OutputFormat::Json => {
                print_json(&serde_json::json!({"rows": rows.rows(), "path": path}))
            }
        };
    }
    match global.output_format {
        Format::Text => print(&format!("{}\n{}", score_rows::table_of(rows), text())),
        Format::Json => print_json(&score_rows::json_of(rows)),
        Format::Csv | Format::Parquet => print_rows(global, rows),
    }
}
