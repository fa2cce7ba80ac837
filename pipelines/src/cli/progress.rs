//! Progress on stderr: bars on a terminal, a line for each change elsewhere.

use contract::units;
use plan::Plan;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::run::state_name;
use super::say;
use crate::run::{TaskRecord, TaskState};

/// Shows the progress of a run.
pub(crate) struct Progress {
    width: usize,
    bars: Option<MultiProgress>,
    running: RefCell<HashMap<String, ProgressBar>>,
}

impl Progress {
    pub(crate) fn start(plan: &Plan) -> Self {
        let width = plan.tasks.iter().map(|task| task.name.len()).max().unwrap_or(0);
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { width, bars, running: RefCell::default() }
    }

    /// Shows the new state of a task.
    pub(crate) fn show(&self, task: &TaskRecord) {
        let width = self.width;
        if task.state == TaskState::Running && task.attempts <= 1 {
            if let Some(bars) = &self.bars {
                let bar = bars.add(
                    ProgressBar::new_spinner()
                        .with_message(format!("{:width$}  running", task.name)),
                );
                bar.set_style(
                    ProgressStyle::with_template("{spinner} {msg} {elapsed}")
                        .unwrap_or_else(|_| ProgressStyle::default_spinner()),
                );
                bar.enable_steady_tick(Duration::from_millis(100));
                self.running.borrow_mut().insert(task.name.clone(), bar);
            }
            return;
        }
        let took = if task.seconds > 0.0 { units::seconds(task.seconds) } else { String::new() };
        let state = match task.state {
            TaskState::Running => format!(
                "attempt {} failed with exit code {}, trying again",
                task.attempts - 1,
                task.exit_code.unwrap_or(0)
            ),
            state => format!("{:8} {took}", state_name(state)),
        };
        self.line(&format!("  {:width$}  {}", task.name, state.trim_end()));
        if task.state != TaskState::Running
            && let Some(bar) = self.running.borrow_mut().remove(&task.name)
        {
            bar.finish_and_clear();
        }
    }

    pub(crate) fn finish(&self) {
        self.running.borrow_mut().drain().for_each(|(_, bar)| bar.finish_and_clear());
    }

    fn line(&self, text: &str) {
        match &self.bars {
            // The bars write to stderr; a line that cannot be shown is dropped.
            Some(bars) => drop(bars.println(text)),
            None => say(text),
        }
    }
}
