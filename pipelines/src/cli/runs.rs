//! `lynceus runs`: what was run.

use std::path::PathBuf;

use contract::StepError;

use super::context::StorePlace;
use super::run::state_name;
use super::{Global, OutputFormat, print, print_json};

use crate::run::{RunRecord, human_seconds, table};

/// What to do with runs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum RunsCommand {
    /// List the runs of a pipeline, or of all pipelines of the store, oldest first
    #[command(after_help = "Example: lynceus runs list cluster")]
    List {
        /// Name of the pipeline [default: all]
        pipeline: Option<String>,
    },
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
        RunsCommand::List { pipeline } => list(global, &store, pipeline.as_deref()),
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
                    human_seconds(task.seconds),
                    task.why.clone(),
                ]
            }));
            print(&format!("{}\n{}", folder.display(), table(&rows)))
        }
    }
}

fn list(global: &Global, store: &StorePlace, pipeline: Option<&str>) -> Result<(), StepError> {
    let names = match pipeline {
        Some(name) => vec![name.to_owned()],
        None => store.pipelines()?,
    };
    let mut runs: Vec<RunRecord> = Vec::new();
    for name in &names {
        runs.extend(store.runs(name)?.into_iter().map(|(_, record)| record));
    }
    if let Some(name) = pipeline.filter(|_| runs.is_empty()) {
        crate::find::known(name, &global.pipelines)?;
    }
    if global.output() == OutputFormat::Json {
        return print_json(&runs);
    }
    let mut rows = vec![["pipeline", "run", "status", "now", "time"].map(str::to_owned).to_vec()];
    rows.extend(runs.iter().map(|run| {
        vec![
            run.pipeline.clone(),
            run.run.clone(),
            format!("{:?}", run.status).to_lowercase(),
            run.now.to_string(),
            human_seconds(run.seconds),
        ]
    }));
    print(&table(&rows))
}

/// Finds a run by name, by an unambiguous beginning, or the last training or the one before.
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
                .hint("lynceus run starts one")
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
            Err(StepError::usage(format!("several runs of `{pipeline}` begin with `{run}`")))
        }
        (None, _) => Err(StepError::usage(format!("pipeline `{pipeline}` has no run `{run}`"))
            .hint(format!("lynceus runs list {pipeline} shows them"))),
    }
}
