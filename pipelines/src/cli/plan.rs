//! `lynceus plan`: shows the tasks of a pipeline.

use contract::{StepError, Timestamp};
use plan::{Inputs, train};
use serde_json::json;

use super::context::{Context, DocumentArgs, clock};
use super::{Global, OutputFormat, print, print_json};
use crate::run::table;

/// Flags of `lynceus plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Show the scoring pipeline instead of the training pipeline
    #[arg(long)]
    score: bool,
    /// Use this evaluation time instead of the clock
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
}

pub(crate) fn execute(global: &Global, args: &PlanArgs) -> Result<(), StepError> {
    let context = Context::new(global, &args.document)?;
    let folder = context.store.root.join("runs").join(&context.document.name).join("RUN");
    let inputs = Inputs {
        document: &context.document,
        base: &context.base,
        folder: &folder,
        store: &context.store.url,
        now: args.now.unwrap_or_else(clock),
    };
    let plan = if args.score { plan::score::plan(&inputs)? } else { train::plan(&inputs)? };
    let needs = |index| {
        plan.needs(index)
            .into_iter()
            .map(|needed| plan.tasks[needed].name.clone())
            .collect::<Vec<_>>()
    };
    let tasks = plan.tasks.iter().enumerate();
    if global.output() == OutputFormat::Json {
        let tasks: Result<Vec<_>, StepError> = tasks
            .map(|(index, task)| {
                let line: Vec<String> = task.command.command_line()?.iter().map(|word| word.to_string_lossy().into_owned()).collect();
                Ok(json!({"name": task.name, "step": task.command.stage(), "needs": needs(index), "flags": line}))
            })
            .collect();
        return print_json(&tasks?);
    }
    let mut rows = vec![["task", "needs", "reads", "writes"].map(str::to_owned).to_vec()];
    rows.extend(tasks.map(|(index, task)| {
        let names = |ports: Vec<contract::step::Port<'_>>| {
            let mut names: Vec<&str> =
                ports.iter().map(|port| port.name).filter(|name| *name != "document").collect();
            names.dedup();
            names.join(", ")
        };
        vec![
            task.name.clone(),
            needs(index).join(", "),
            names(task.command.inputs()),
            names(task.command.outputs()),
        ]
    }));
    print(&table(&rows))
}
