//! `lynceus record`: records the sources of a pipeline that have no past.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use collect::follow::{Recorder, Recording, Step};
use contract::{StepError, Timestamp};
use document::sections::Collect;

use super::agent::Health;
use super::context::{Context, DocumentArgs, clock};
use super::{Global, OutputFormat, print_json, say};

/// Flags of `lynceus record`.
#[derive(Debug, clap::Args)]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Name of this recorder; no other recorder of the pipeline may have it
    #[arg(long, value_name = "NAME", default_value = "central")]
    recorder: String,
    /// Keep what is not in the store yet in this folder; by default `recording/PIPELINE/NAME` in
    /// the store, or in `.lynceus` for a bucket
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// End after so many steps instead of running until it is stopped
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
}

/// What is recorded how.
pub(crate) struct Recorded<'a> {
    /// Name of the recorder.
    pub(crate) recorder: &'a str,
    /// Folder of what is not in the store yet.
    pub(crate) spool: Option<&'a Path>,
    /// Steps after which to end.
    pub(crate) steps: Option<u64>,
    /// Health endpoint that gets the progress.
    pub(crate) health: Option<&'a Health>,
}

pub(crate) fn execute(global: &Global, args: &RecordArgs) -> Result<(), StepError> {
    let recorded = Recorded {
        recorder: &args.recorder,
        spool: args.spool.as_deref(),
        steps: args.steps,
        health: None,
    };
    record(global, &args.document, &recorded)
}

/// Records until the process is asked to end.
pub(crate) fn record(
    global: &Global,
    document: &DocumentArgs,
    recorded: &Recorded<'_>,
) -> Result<(), StepError> {
    let context = Context::new(global, document)?;
    let document = Collect::from(context.document.clone());
    let store = context.store.open()?;
    let default = || {
        let folder = context.store.root.join("recording").join(&context.document.name);
        folder.join(recorded.recorder)
    };
    let spool = recorded.spool.map_or_else(default, Path::to_owned);
    let mut recorder = Recorder::open(Recording {
        document: &document,
        folder: &context.base,
        store: store.as_ref(),
        recorder: recorded.recorder,
        spool: &spool,
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StepError::unavailable(format!("cannot start: {error}")))?;
    let length = context.document.step;
    say(&format!(
        "Recording `{}` every {length} into {}; stop with Ctrl-C",
        context.document.name,
        store.describe()
    ));
    let mut taken = 0_u64;
    let mut failing = Failing::default();
    let mut next = recorder.next(clock());
    while recorded.steps.is_none_or(|steps| taken < steps) {
        if !runtime.block_on(wait_until(next))? {
            break;
        }
        let step = recorder.step(next)?;
        failing.tell(next, &step);
        if let Some(health) = recorded.health {
            health.note(next, &step, length);
        }
        taken += 1;
        // Steps that passed meanwhile are over; a clock that was set back is waited for.
        next = recorder.next(clock()).max(next + length);
        if next - clock() > length + length {
            next = recorder.next(clock());
        }
    }
    failing.tell(next, &recorder.finish()?);
    match global.output() {
        OutputFormat::Json => print_json(&serde_json::json!({"steps": taken})),
        OutputFormat::Text => Ok(()),
    }
}

/// Waits until a time; returns whether to continue, that is, no signal to end came.
async fn wait_until(time: Timestamp) -> Result<bool, StepError> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| StepError::unavailable(format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let left = Duration::from_millis(u64::try_from((time - clock()).ms()).unwrap_or(0));
    Ok(tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = tokio::time::sleep(left) => true,
    })
}

/// What failed at the step before, so that a failure is said once and not at every step.
#[derive(Debug, Default)]
struct Failing(BTreeSet<String>);

impl Failing {
    fn tell(&mut self, time: Timestamp, step: &Step) {
        let failing: BTreeSet<String> = step.failures.iter().cloned().collect();
        for (failure, word) in changes(&self.0, &failing) {
            say(&format!("{time} {word}: {failure}"));
        }
        self.0 = failing;
        tracing::info!(%time, rows = step.rows, segments = step.sent, "Took samples");
    }
}

/// Returns the failures that began, and those that are over, each with the word for it.
fn changes<'a>(
    before: &'a BTreeSet<String>,
    now: &'a BTreeSet<String>,
) -> impl Iterator<Item = (&'a String, &'static str)> {
    let began = now.difference(before).map(|failure| (failure, "failed"));
    let ended = before.difference(now).map(|failure| (failure, "no longer fails"));
    began.chain(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_of_several_steps_is_said_when_it_begins_and_when_it_ends() {
        let set = |failures: &[&str]| -> BTreeSet<String> {
            failures.iter().map(|failure| (*failure).to_owned()).collect()
        };
        let steps = [set(&[]), set(&["no route"]), set(&["no route", "full"]), set(&["full"])];
        let said: Vec<Vec<(String, &str)>> = steps
            .windows(2)
            .map(|pair| changes(&pair[0], &pair[1]).map(|(f, w)| (f.clone(), w)).collect())
            .collect();
        let expected = [
            vec![("no route".to_owned(), "failed")],
            vec![("full".to_owned(), "failed")],
            vec![("no route".to_owned(), "no longer fails")],
        ];
        assert_eq!(said, expected);
    }
}
