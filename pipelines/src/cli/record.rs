//! `lynceus record`: records the sources of a pipeline that keep no history.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use collect::follow::{Recorder, Recording, Step};
use contract::{SYSTEM_HINT, StepError, Timestamp};
use document::sections::Collect;

use super::agent::Health;
use super::context::{Context, DocumentArgs, clock};
use super::run::block_on;
use super::{Global, OutputFormat, print_json, say};
use crate::run::Signals;

/// Deadline for a recorder to stop after a signal. Rows that it has not sent by then are in the
/// spool.
const LAST_STEP: Duration = Duration::from_millis(1800);

/// Flags of `lynceus record`.
#[derive(Debug, clap::Args)]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Name of this recorder; no other recorder of the pipeline may have it
    #[arg(long, value_name = "NAME", default_value = "central")]
    recorder: String,
    /// Keep rows that are not yet in the store in this folder; by default `recording/PIPELINE/NAME`
    /// in the store, or in `.lynceus` for a bucket
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Stop after this many steps instead of running until Ctrl-C
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
}

/// Settings of a recording.
pub(crate) struct Recorded<'a> {
    /// Name of the recorder.
    pub(crate) recorder: &'a str,
    /// Folder of rows that are not in the store yet.
    pub(crate) spool: Option<&'a Path>,
    /// Steps after which to end.
    pub(crate) steps: Option<u64>,
    /// Health endpoint that gets the progress.
    pub(crate) health: Option<Health>,
}

pub(crate) fn execute(global: &Global, args: &RecordArgs) -> Result<(), StepError> {
    let recorded = Recorded {
        recorder: &args.recorder,
        spool: args.spool.as_deref(),
        steps: args.steps,
        health: None,
    };
    record(global, &args.document, recorded)
}

/// Records until a signal to stop.
pub(crate) fn record(
    global: &Global,
    document: &DocumentArgs,
    recorded: Recorded<'_>,
) -> Result<(), StepError> {
    let context = Context::new(global, document)?;
    let default = || {
        let folder = context.store.root.join("recording").join(&context.document.name);
        folder.join(recorded.recorder)
    };
    let work = Work {
        spool: recorded.spool.map_or_else(default, Path::to_owned),
        recorder: recorded.recorder.to_owned(),
        steps: recorded.steps,
        health: recorded.health,
        context,
    };
    let taken = block_on(until_end(work))?;
    match global.output() {
        OutputFormat::Json => print_json(&serde_json::json!({"steps": taken})),
        OutputFormat::Text => Ok(()),
    }
}

/// Records on a separate thread, so that a slow scrape does not delay the stop; returns the number
/// of recorded steps.
async fn until_end(work: Work) -> Result<u64, StepError> {
    let mut signals = Signals::new()?;
    let (stop, stopped) = channel();
    let (done, mut ended) = tokio::sync::oneshot::channel();
    let run = move || {
        // If a step is too slow at the end, nothing receives its result.
        drop(done.send(work.run(&stopped)));
    };
    let thread = std::thread::Builder::new().name("recorder".to_owned()).spawn(run);
    thread.map_err(|error| {
        StepError::unavailable(format!("cannot start a thread: {error}")).hint(SYSTEM_HINT)
    })?;
    let gone = |_| Err(StepError::bug("the recorder ended in a panic"));
    tokio::select! {
        result = &mut ended => return result.unwrap_or_else(gone),
        () = signals.wait() => {}
    }
    drop(stop);
    match tokio::time::timeout(LAST_STEP, ended).await {
        Ok(result) => result.unwrap_or_else(gone),
        // A stop in the middle of a step is like a kill: the next start resumes.
        Err(_) => Ok(0),
    }
}

/// Input of the recording thread.
struct Work {
    context: Context,
    recorder: String,
    spool: PathBuf,
    steps: Option<u64>,
    health: Option<Health>,
}

impl Work {
    /// Records steps until it is stopped; returns their number.
    fn run(self, stopped: &Receiver<()>) -> Result<u64, StepError> {
        let document = Collect::from(self.context.document.clone());
        let store = self.context.store.open()?;
        let (length, shown) = (document.step, store.describe());
        let mut recorder = Recorder::open(Recording {
            document: &document,
            exports: &self.context.document.exports,
            folder: &self.context.base,
            store: store.into(),
            recorder: &self.recorder,
            spool: &self.spool,
        })?;
        say(&format!(
            "Recording `{}` every {length} into {shown}; stop with Ctrl-C",
            document.name
        ));
        let mut taken = 0_u64;
        let mut failing = Failing::default();
        let mut next = recorder.next(clock());
        while self.steps.is_none_or(|steps| taken < steps) {
            if !wait_until(next, stopped) {
                break;
            }
            let step = recorder.step(next)?;
            failing.tell(next, &step);
            if let Some(health) = &self.health {
                health.note(next, &step, length);
            }
            taken += 1;
            // Steps that were missed in the meantime are skipped. If the clock was set back,
            // recording waits for it.
            next = recorder.next(clock()).max(next + length);
            if next - clock() > length + length {
                next = recorder.next(clock());
            }
        }
        failing.tell(next, &recorder.finish()?);
        Ok(taken)
    }
}

/// Waits until a time; returns true unless a signal to stop arrived.
fn wait_until(time: Timestamp, stopped: &Receiver<()>) -> bool {
    let left = Duration::from_millis(u64::try_from((time - clock()).ms()).unwrap_or(0));
    stopped.recv_timeout(left) == Err(RecvTimeoutError::Timeout)
}

/// Failures of the previous step, so that a failure is reported once and not at every step.
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

/// Returns the failures that started and those that ended, each with a word for the change.
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
    fn failure_over_several_steps_is_reported_at_start_and_end() {
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
