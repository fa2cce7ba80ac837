//! A plan: tasks with typed ports. Two tasks are connected if an output of one is an input of the
//! other.
//!
//! [`train`] and [`score`] make the plans of a document. The local runner runs them as processes,
//! and the crate `argo` writes them as manifests.

pub mod score;
pub mod train;

mod inputs;

pub use inputs::{Inputs, Part, RUN};

use std::path::{Path, PathBuf};

use contract::steps::StepCommand;
use contract::{Shard, StepError};

/// A step with its flags and a name that is unique in the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The name: the stage, and a suffix for each of several tasks of a stage.
    pub name: String,
    /// What to run.
    pub command: StepCommand,
}

impl Task {
    /// Makes a task.
    pub fn new(name: impl Into<String>, command: StepCommand) -> Self {
        Self { name: name.into(), command }
    }

    /// Returns the model a task fits, if it is one of several tasks of the stage `train`.
    pub fn model(&self) -> Option<&str> {
        let StepCommand::Train(args) = &self.command else { return None };
        Some(&args.model)
    }
}

/// Tasks in an order in which each comes after the tasks that it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// The shard on which the tasks work, in the plan of one shard.
    shard: Option<Shard>,
}

impl Plan {
    /// Makes a plan; tasks must have different names, write different paths, and come after the
    /// tasks whose outputs they read.
    pub fn new(tasks: Vec<Task>) -> Result<Self, StepError> {
        let shard = tasks.iter().find_map(|task| task.command.shard());
        let plan = Self { tasks, shard };
        for (index, task) in plan.tasks.iter().enumerate() {
            let earlier = &plan.tasks[..index];
            if earlier.iter().any(|other| other.name == task.name) {
                return Err(StepError::bug(format!("two tasks are named `{}`", task.name)));
            }
            for output in task.command.outputs() {
                if let Some(other) = earlier.iter().find(|other| writes(other, output.path)) {
                    let path = output.path.display();
                    return Err(StepError::bug(format!(
                        "`{}` and `{}` both write `{path}`",
                        other.name, task.name
                    )));
                }
            }
            if plan.needs(index).iter().any(|needed| *needed >= index) {
                return Err(StepError::bug(format!("`{}` stands before what it needs", task.name)));
            }
        }
        Ok(plan)
    }

    /// Sets the file with the pinned parts of feature groups that `collect` reads.
    pub fn pin(&mut self, pins: Option<&PathBuf>) {
        for task in &mut self.tasks {
            if let StepCommand::Collect(args) = &mut task.command {
                args.pins = pins.cloned();
            }
        }
    }

    /// Sets the shard on which the tasks work, even if no flag names it.
    pub(crate) fn of_shard(self, shard: Shard) -> Self {
        Self { shard: Some(shard), ..self }
    }

    /// Returns the shard on which the tasks work, in the plan of one shard.
    pub fn shard(&self) -> Option<Shard> {
        self.shard
    }

    /// Returns the index of a task; an unknown name is a usage error with a suggestion.
    pub fn find(&self, name: &str) -> Result<usize, StepError> {
        self.tasks.iter().position(|task| task.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
            let unknown = StepError::usage(format!("there is no task `{name}`"));
            match document::closest(name, names.iter().copied()) {
                Some(meant) => unknown.hint(format!("did you mean `{meant}`?")),
                None => unknown.hint(format!("tasks: {}", names.join(", "))),
            }
        })
    }

    /// Returns the tasks whose outputs a task reads, in the plan's order.
    pub fn needs(&self, index: usize) -> Vec<usize> {
        let inputs = self.tasks[index].command.inputs();
        let feeds = |other: &Task| inputs.iter().any(|input| writes(other, input.path));
        (0..self.tasks.len()).filter(|other| feeds(&self.tasks[*other])).collect()
    }

    /// Returns a task and all tasks that depend on it directly or indirectly.
    pub fn with_followers(&self, index: usize) -> Vec<usize> {
        let mut found = vec![index];
        for later in index + 1..self.tasks.len() {
            if self.needs(later).iter().any(|needed| found.contains(needed)) {
                found.push(later);
            }
        }
        found
    }
}

/// Returns whether a task writes a file or folder, or the folder that contains the file.
fn writes(task: &Task, path: &Path) -> bool {
    task.command.outputs().iter().any(|output| path.starts_with(output.path))
}
