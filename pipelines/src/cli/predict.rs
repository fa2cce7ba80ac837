//! `lynceus predict`: scores the rows of any table with a bundle, without a store or a watermark;
//! or the parts of a run's data set.

mod input;
mod metrics;
mod model;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::score::EntityScore;
use contract::{StepError, Timestamp};
use frames::{FeatureTable, Rows, Values};
use models::classify::ClassBundle;
use models::classify::judge::JudgedRow;
use models::{AnyBundle, ScoreOptions, ScoreState};

use super::context::{Context, DocumentArgs};
use super::{Format, Global, OutputFormat, print, print_json, print_rows, runs, say, score_rows};
use input::Input;
pub(super) use input::{ceiling, range as times};
use model::{Part, Version, live};

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
    part: Vec<DatasetPart>,
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
enum DatasetPart {
    Train,
    Validation,
    Test,
}

impl DatasetPart {
    const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
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
    let version = match &context {
        Some(context) => live(context, args.version.as_deref())?,
        None => Version::read(Path::new(&args.model))?,
    };
    let table = args.table.as_deref().ok_or_else(|| {
        StepError::usage("no table is named").hint("write it as in lynceus predict PIPELINE TABLE")
    })?;
    let predicted = predicted(&version, table, context.as_ref())?;
    tell(global, args, &predicted.rows, || predicted.text)
}

/// Result of a model for a table.
pub(super) struct Predicted {
    /// One row for each row of the table.
    pub(super) rows: Rows,
    /// Metrics as text.
    pub(super) text: String,
    /// Metrics by name; empty for a table without labels.
    pub(super) metrics: BTreeMap<String, f64>,
}

/// Scores the rows of a table with the bundle in a folder.
///
/// Errors: refused (3) for a file that is not a table, or lacks a column.
pub(super) fn with_bundle(
    context: &Context,
    bundle: &Path,
    table: &Path,
) -> Result<Predicted, StepError> {
    let version = Version { division: None, parts: vec![(None, model::read(bundle)?)] };
    predicted(&version, table, Some(context))
}

/// Scores the rows of a table, each with the model of its entity's shard.
fn predicted(
    Version { division, parts }: &Version,
    path: &Path,
    context: Option<&Context>,
) -> Result<Predicted, StepError> {
    let Some((_, first)) = parts.first() else {
        return Err(StepError::bug("there is no model"));
    };
    let read = |(shard, model): &Part| {
        let (contract, division) = (model.contract(), division.as_ref());
        let input = Input { context, contract, shard: *shard, division };
        let table = input.read(path)?;
        let judged = judge(model, &table, context, &mut ScoreState::default())?;
        Ok((table, judged))
    };
    let read = parts.iter().map(read).collect::<Result<Vec<_>, StepError>>()?;
    let (table, judged) = together(read, first)?;
    let text = metrics::text(first, &table, &judged, context);
    let metrics = metrics::metrics(first, &table, &judged, context);
    Ok(Predicted { rows: judged.rows, text, metrics })
}

/// Joins the results of several shards: rows in order of time, and then of entity. The joined table
/// has no columns, because shards may have different features.
fn together(
    mut read: Vec<(FeatureTable, Judged)>,
    first: &AnyBundle,
) -> Result<(FeatureTable, Judged), StepError> {
    if read.iter().any(|(table, _)| table.rows() > 0) {
        read.retain(|(table, _)| table.rows() > 0);
    }
    if read.len() == 1 {
        return read.pop().ok_or_else(|| StepError::bug("there is no part"));
    }
    let (mut tables, mut verdicts) = (Vec::new(), Vec::new());
    for (mut table, judged) in read {
        verdicts.extend(table.table.times.iter().copied().zip(judged.verdicts));
        table.contract.columns.clear();
        table.table.columns.clear();
        tables.push(table);
    }
    // The order of the joined table.
    verdicts.sort_by(|(a, one), (b, other)| (a, &one.entity).cmp(&(b, &other.entity)));
    let table = FeatureTable::joined(tables)?;
    let scored: Vec<(Timestamp, &EntityScore)> =
        verdicts.iter().map(|(time, verdict)| (*time, verdict)).collect();
    let mut rows = score_rows::of_scores(&scored, model::alarm_at(first));
    if let Some(labels) = &table.labels {
        rows.push("label", Values::Texts(labels.label.clone()));
    }
    let verdicts = verdicts.into_iter().map(|(_, verdict)| verdict).collect();
    Ok((table, Judged { rows, verdicts, classes: Vec::new() }))
}

/// The verdict on each row, in order.
struct Judged {
    rows: Rows,
    verdicts: Vec<EntityScore>,
    classes: Vec<JudgedRow>,
}

fn judge(
    model: &AnyBundle,
    table: &FeatureTable,
    context: Option<&Context>,
    state: &mut ScoreState,
) -> Result<Judged, StepError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let min_completeness =
        context.map_or(MIN_COMPLETENESS, |context| context.document.scoring.min_completeness);
    let times = &table.table.times;
    let mut judged = match model {
        AnyBundle::Anomaly(bundle) => {
            let options = ScoreOptions { min_completeness, threads };
            let verdicts = bundle.score(table, state, options)?;
            let scored: Vec<(Timestamp, &EntityScore)> =
                times.iter().copied().zip(&verdicts).collect();
            let rows = score_rows::of_scores(&scored, model::alarm_at(model));
            Judged { rows, verdicts, classes: Vec::new() }
        }
        AnyBundle::Classify(bundle) => {
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
    let class = judged.iter().map(|row| metrics::likeliest(names, row).0.to_owned());
    rows.push("class", Values::Texts(class.collect()));
    let probability = judged.iter().map(|row| metrics::likeliest(names, row).1);
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

/// Scores the parts of a run's data set as live scoring would, starting at its first row.
fn of_run(
    global: &Global,
    args: &PredictArgs,
    context: &Context,
    run: &str,
) -> Result<(), StepError> {
    let (folder, _) = runs::find(&context.store, &context.document.name, run)?;
    let mut rows: Option<Rows> = None;
    let mut texts = Vec::new();
    for shard in runs::parts(&folder) {
        let of_shard = of_dataset(args, context, &shard)?;
        // Only the folder of a shard has a different name than the run.
        let name = shard.strip_prefix(&folder).ok().and_then(Path::to_str).unwrap_or_default();
        for (part, judged_rows, text) in of_shard {
            let of = if name.is_empty() { String::new() } else { format!("{name} ") };
            texts.push(format!("{of}{part}: {text}"));
            rows = Some(match rows {
                None => judged_rows,
                Some(rows) => rows.followed_by(judged_rows)?,
            });
        }
    }
    tell(global, args, &rows.unwrap_or_default(), || texts.concat())
}

/// Scores the selected parts of the data set in a folder; returns the name, the rows and the
/// metrics of each.
fn of_dataset(
    args: &PredictArgs,
    context: &Context,
    folder: &Path,
) -> Result<Vec<(&'static str, Rows, String)>, StepError> {
    let model = model::read(&folder.join("select/bundle"))?;
    let mut state = match &model {
        AnyBundle::Anomaly(bundle) => bundle.without_past(),
        AnyBundle::Classify(_) => ScoreState::default(),
    };
    let mut found = Vec::new();
    for part in DatasetPart::ALL {
        let file = folder.join(format!("validate/dataset/{}.parquet", part.name()));
        let table = FeatureTable::read(&file)?;
        // The preceding parts are the history of the rows of the selected part.
        let mut judged = judge(&model, &table, Some(context), &mut state)?;
        if !args.part.is_empty() && !args.part.contains(&part) {
            continue;
        }
        let text = metrics::text(&model, &table, &judged, Some(context));
        let parts = vec![part.name().to_owned(); table.rows()];
        judged.rows.push("part", Values::Texts(parts));
        found.push((part.name(), judged.rows, text));
    }
    Ok(found)
}

/// Prints rows and metrics in the form that the flags select.
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
