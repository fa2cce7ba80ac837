//! `lynceus runs`: lists and shows runs.

mod list;

use std::path::{Path, PathBuf};

use contract::{Shard, StepError, artifact, units};
use frames::FeatureTable;

use super::context::StorePlace;
use super::run::state_name;
use super::{Global, OutputFormat, print, print_json};

use crate::run::{RunRecord, table};

/// What to do with runs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum RunsCommand {
    /// List the runs of a pipeline, or of all pipelines of the store, oldest first
    #[command(after_help = "Example: lynceus runs list cluster --sort test.average_precision")]
    List(list::ListArgs),
    /// Show the tasks of a run
    #[command(after_help = "Example: lynceus runs show cluster last")]
    Show {
        /// Name of the pipeline
        pipeline: String,
        /// Name of the run, its beginning, `previous`, or `last`
        run: String,
    },
}

pub(crate) fn execute(global: &Global, command: &RunsCommand) -> Result<(), StepError> {
    let store = StorePlace::new(&global.store)?;
    match command {
        RunsCommand::List(args) => list::execute(global, &store, args),
        RunsCommand::Show { pipeline, run } => {
            let (folder, record) = find(&store, pipeline, run)?;
            if global.output() == OutputFormat::Json {
                return print_json(&record);
            }
            let mut rows =
                vec![["task", "state", "attempts", "time", "why"].map(str::to_owned).to_vec()];
            rows.extend(record.tasks.iter().map(|task| {
                vec![
                    task.name.clone(),
                    state_name(task.state).to_owned(),
                    task.attempts.to_string(),
                    units::seconds(task.seconds),
                    task.why.clone(),
                ]
            }));
            print(&format!("{}\n{}{}", folder.display(), remarks(&record), table(&rows)))
        }
    }
}

/// Returns the folders with the tasks of a run: the folders of the shards in their order, or the
/// run's own folder.
pub(crate) fn parts(run: &Path) -> Vec<PathBuf> {
    let shards = (0..Shard::MOST).map(|index| run.join(format!("shard-{index}")));
    let shards: Vec<PathBuf> = shards.take_while(|folder| folder.is_dir()).collect();
    if shards.is_empty() { vec![run.to_owned()] } else { shards }
}

/// Calls `each` with the file of the feature rows of a run: those of its shards are joined into one
/// temporary file.
///
/// Errors: refused (3) for shards with different features.
pub(crate) fn with_features<T>(
    run: &Path,
    each: impl FnOnce(&Path) -> Result<T, StepError>,
) -> Result<T, StepError> {
    let files: Vec<PathBuf> =
        parts(run).iter().map(|part| part.join("feature/features.parquet")).collect();
    if let [only] = files.as_slice() {
        return each(only);
    }
    let tables =
        files.iter().map(|file| FeatureTable::read(file)).collect::<Result<Vec<_>, _>>()?;
    let joined = run.join(format!(".features-{}.parquet", std::process::id()));
    let done = FeatureTable::joined(tables)?.write(&joined).and_then(|()| each(&joined));
    artifact::remove(&joined).map_err(|e| StepError::writing(&joined, &e))?;
    done
}

/// Returns a line for each tag, the note, and each metric of a run.
fn remarks(record: &RunRecord) -> String {
    let tags = record.tags.iter().map(|(name, value)| format!("tag     {name}={value}\n"));
    let note = record.note.iter().map(|note| format!("note    {note}\n"));
    let metrics = record.metrics.iter().map(|(name, value)| format!("metric  {name} {value:.4}\n"));
    let text: String = tags.chain(note).chain(metrics).collect();
    if text.is_empty() { text } else { format!("{text}\n") }
}

/// Finds a run by its name or an unambiguous beginning of it, or finds the last or the previous
/// training.
pub(crate) fn find(
    store: &StorePlace,
    pipeline: &str,
    run: &str,
) -> Result<(PathBuf, RunRecord), StepError> {
    let runs = store.runs(pipeline)?;
    let by_age = ["last", "previous"].iter().position(|name| *name == run);
    if let Some(younger) = by_age {
        let mut trainings = runs.into_iter().rev().filter(|(_, run)| run.is_training());
        let found = trainings.nth(younger).ok_or_else(|| {
            let few = if younger == 0 { "no runs" } else { "no two runs" };
            StepError::usage(format!("pipeline `{pipeline}` has {few} in `{}`", store.url))
                .hint(format!("train with: lynceus run {pipeline}"))
        })?;
        store.bring_run(&found.0)?;
        return Ok(found);
    }
    let mut matching: Vec<_> =
        runs.into_iter().filter(|(_, record)| record.run.starts_with(run)).collect();
    match (matching.pop(), matching.len()) {
        (Some(found), 0) => {
            store.bring_run(&found.0)?;
            Ok(found)
        }
        (Some(_), _) => {
            Err(StepError::usage(format!("several runs of `{pipeline}` begin with `{run}`"))
                .hint("write more characters of the name"))
        }
        (None, _) => Err(StepError::usage(format!("pipeline `{pipeline}` has no run `{run}`"))
            .hint(format!("lynceus runs list {pipeline} shows them"))),
    }
}
