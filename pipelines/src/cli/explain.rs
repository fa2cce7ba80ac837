//! `lynceus explain`: explains why a task ran or did not run.

use contract::StepError;
use serde_json::json;

use super::context::StorePlace;
use super::run::state_name;
use super::{Global, OutputFormat, print, print_json, runs};

/// Flags of `lynceus explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// Name of the pipeline
    pipeline: String,
    /// Name of the run, its beginning, `previous`, or `last`
    run: String,
    /// The task
    task: String,
}

pub(crate) fn execute(global: &Global, args: &ExplainArgs) -> Result<(), StepError> {
    let store = StorePlace::new(&global.store)?;
    let (_, run) = runs::find(&store, &args.pipeline, &args.run)?;
    let task = run.task(&args.task).ok_or_else(|| {
        let names: Vec<&str> = run.tasks.iter().map(|task| task.name.as_str()).collect();
        let unknown = StepError::usage(format!("run `{}` has no task `{}`", run.run, args.task));
        match document::closest(&args.task, names.iter().copied()) {
            Some(meant) => unknown.hint(format!("did you mean `{meant}`?")),
            None => unknown.hint(format!("tasks: {}", names.join(", "))),
        }
    })?;
    let before = store.runs(&args.pipeline)?.into_iter().map(|(_, record)| record);
    let before = before
        .take_while(|earlier| earlier.run != run.run)
        .filter(|earlier| earlier.task(&args.task).is_some_and(|task| task.parts.is_some()));
    let earlier = before.last();
    let earlier_parts = earlier.as_ref().and_then(|run| run.task(&args.task)?.parts.as_ref());
    let differences = match (&task.parts, earlier_parts) {
        (Some(parts), Some(earlier)) => parts.differences(earlier),
        _ => Vec::new(),
    };
    if global.output() == OutputFormat::Json {
        let compared = earlier.as_ref().map(|run| &run.run);
        return print_json(
            &json!({"run": run.run, "task": task, "compared_with": compared, "differences": differences}),
        );
    }
    let mut text = format!("{} of {}: {}\n", task.name, run.run, state_name(task.state));
    if !task.why.is_empty() {
        text.push_str(&format!("why: {}\n", task.why));
    }
    match &earlier {
        Some(earlier) if differences.is_empty() => {
            text.push_str(&format!("nothing differs from run {}\n", earlier.run));
        }
        Some(earlier) => {
            text.push_str(&format!("against run {}:\n", earlier.run));
            differences.iter().for_each(|difference| text.push_str(&format!("  {difference}\n")));
        }
        None => text.push_str("there is no earlier run to compare it with\n"),
    }
    if let Some(parts) = &task.parts {
        text.push_str(&format!(
            "\nprogram   {}\ndocument  {}\n",
            parts.program,
            &parts.document[..12.min(parts.document.len())]
        ));
        for (name, value) in &parts.parameters {
            text.push_str(&format!("flag      --{name} {value}\n"));
        }
        for (name, sha256) in &parts.inputs {
            text.push_str(&format!("input     {name} {}\n", &sha256[..12.min(sha256.len())]));
        }
    }
    print(&text)
}
