//! Publishes scores to other systems: each sink of the document reads the score objects with its
//! own cursor.
//!
//! It runs beside `alert` and after `score`: a slow or unreachable server delays neither scores nor
//! alerts, and gets the missed windows later. A failure of a sink does not make the step fail: it
//! is a warning once an hour, and `lynceus status` shows it.
//!
//! [`metrics`] converts scores to series, `sinks` has a file for each sink, and [`Cursor`] is the
//! position of a sink.

mod cursor;
pub mod metrics;
mod sinks;

use std::path::Path;
use std::time::{Duration, Instant};

use contract::score::WindowScore;
use contract::steps::ExportArgs;
use contract::{Outcome, StepError, Timestamp, write_json};
use document::sections::Export as Sections;
use frames::FeatureTable;
use serde::{Deserialize, Serialize};
use store::scores::ScoreReader;
use store::{Follower, ObjectStore};

pub use crate::cursor::{Cursor, Failing};
use crate::sinks::{Batch, Failure, RunEnd, Sink};

/// Maximum number of windows, and of rows (one per entity and window), in one batch of a sink.
const WINDOWS_AT_ONCE: usize = 60;
const ROWS_AT_ONCE: usize = 1000;

/// `exported`: what a run of the step published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Version of this format.
    pub format: u32,
    /// The pipeline.
    pub pipeline: String,
    /// The result of each sink of the document.
    pub sinks: Vec<ExportedTo>,
}

/// The result of one sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedTo {
    /// Its name in the document.
    pub name: String,
    /// End of the last window it has, or rejected permanently.
    pub exported_to: Timestamp,
    /// Samples, or rows, that it accepted in this run.
    pub published: usize,
    /// Its failure, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
}

/// Runs the step.
///
/// Errors: those of the store, and a lost race where another run moved a cursor meanwhile.
pub fn run(args: &ExportArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let begin = Instant::now();
    let document = Sections::read(&args.document)?;
    let store = store::open_shard(&args.store, args.shard)?;
    let folder = args.document.parent().unwrap_or(Path::new(""));
    let follower = Follower::open(store.as_ref(), &document.name, args.now)?;
    let mut exported = Exported { format: 1, pipeline: document.name.clone(), sinks: Vec::new() };
    let count = u32::try_from(document.exports.len()).unwrap_or(u32::MAX).max(1);
    for (number, (name, settings)) in (1..).zip(&document.exports) {
        let Some(scored_to) = follower.scored_to() else { break };
        // Each sink has a share of the time, so that a slow sink does not delay the others.
        let until = begin + share(args.budget.to_std(), number, count);
        let features = args.features.as_deref();
        let export =
            Export { document: &document, store: store.as_ref(), now: args.now, features, until };
        let mut cursor = CursorOf::read(&export, name, scored_to)?;
        let sink = sinks::open(settings, name, folder);
        let (published, failure) = match sink {
            Ok(sink) => export.follow(&follower, sink, &mut cursor.value, scored_to)?,
            Err(error) => {
                (0, Some(Failure { is_final: false, kind: "settings".to_owned(), error }))
            }
        };
        if cursor.value.note(failure.as_ref(), args.now)
            && let Some(failure) = failure
        {
            outcome.warn(format!("`exports.{name}`: {}", failure.error.message));
        }
        outcome.count(&format!("{name}_published"), published);
        exported.sinks.push(ExportedTo {
            name: name.clone(),
            exported_to: cursor.value.exported_to,
            published,
            failing: cursor.value.failing.clone(),
        });
        cursor.write(&export, name)?;
    }
    write_json(&args.exported, &exported)
}

fn share(budget: Duration, number: u32, count: u32) -> Duration {
    budget.saturating_mul(number) / count
}

/// Returns the next windows that are published at once.
fn next_windows(reader: &mut ScoreReader<'_>, most: usize) -> Result<Vec<WindowScore>, StepError> {
    let (mut windows, mut rows) = (Vec::new(), 0);
    while windows.len() < most
        && rows < ROWS_AT_ONCE
        && let Some(window) = reader.next()
    {
        let window = window?;
        rows += window.entities.len();
        windows.push(window);
    }
    Ok(windows)
}

/// A cursor and its stored value when it was read.
struct CursorOf {
    value: Cursor,
    before: Option<store::Stored<Cursor>>,
}

impl CursorOf {
    fn read(export: &Export<'_>, name: &str, scored_to: Timestamp) -> Result<Self, StepError> {
        let before = Cursor::read(export.store, &export.document.name, name)?;
        let value = match &before {
            Some(stored) => stored.value.clone(),
            // A new sink starts with the last window.
            None => Cursor::new(scored_to - export.document.step),
        };
        Ok(Self { value, before })
    }

    fn write(&self, export: &Export<'_>, name: &str) -> Result<(), StepError> {
        if self.before.as_ref().is_some_and(|before| before.value == self.value) {
            return Ok(());
        }
        let etag = self.before.as_ref().map(|before| before.etag.as_str());
        self.value.write(export.store, &export.document.name, name, etag)
    }
}

/// The export to one sink.
struct Export<'a> {
    document: &'a Sections,
    store: &'a dyn ObjectStore,
    now: Timestamp,
    /// The feature table of the tick.
    features: Option<&'a Path>,
    /// No request is started after this time.
    until: Instant,
}

impl Export<'_> {
    /// Publishes the windows after the cursor, and moves the cursor past those that the sink
    /// accepted or permanently rejected; returns the number of accepted samples, and the last
    /// failure, if any.
    ///
    /// Errors: those of the store.
    fn follow(
        &self,
        follower: &Follower<'_>,
        mut sink: Box<dyn Sink>,
        cursor: &mut Cursor,
        scored_to: Timestamp,
    ) -> Result<(usize, Option<Failure>), StepError> {
        let oldest = scored_to - self.document.scoring.catch_up;
        // If a sink failed in the last run, it is tried with one window.
        let mut most = if cursor.failing.is_some() { 1 } else { WINDOWS_AT_ONCE };
        let features = self.features.filter(|_| sink.wants_features());
        let features = features.map(FeatureTable::read).transpose()?;
        let (mut published, mut failure) = (0, None);
        let mut reader = follower.after(Some(cursor.exported_to.max(oldest)));
        loop {
            let windows = next_windows(&mut reader, most)?;
            if windows.is_empty() {
                break;
            }
            let end = self.end(cursor, &windows, scored_to);
            match self.publish(sink.as_mut(), &windows, features.as_ref(), end) {
                Ok(count) => published += count,
                Err(error) => {
                    // A server would permanently reject these windows again, so they are skipped
                    // and reported, whatever follows them.
                    let is_final = error.is_final;
                    failure = Some(error);
                    if !is_final {
                        break;
                    }
                }
            }
            cursor.follow(&windows);
            most = WINDOWS_AT_ONCE;
            if Instant::now() >= self.until {
                break;
            }
        }
        if failure.is_none() && sink.is_snapshot() {
            published += match self.snapshot(sink.as_mut(), cursor, scored_to)? {
                Ok(count) => count,
                Err(error) => {
                    failure = Some(error);
                    0
                }
            };
        }
        Ok((published, failure))
    }

    /// Returns the end of the run if these windows are the last ones.
    fn end(
        &self,
        cursor: &Cursor,
        windows: &[WindowScore],
        scored_to: Timestamp,
    ) -> Option<RunEnd<'_>> {
        let is_last = windows.last().is_some_and(|window| window.time >= scored_to);
        let windows_total = cursor.windows_total + windows.len() as u64;
        is_last.then_some(RunEnd { now: self.now, scored_to, windows_total, drift: None })
    }

    fn publish(
        &self,
        sink: &mut dyn Sink,
        windows: &[WindowScore],
        features: Option<&FeatureTable>,
        end: Option<RunEnd<'_>>,
    ) -> Result<usize, Failure> {
        if sink.is_snapshot() {
            return Ok(0);
        }
        let (pipeline, store) = (&self.document.name, self.store);
        sink.publish(&Batch { pipeline, store, windows, features, end })
    }

    /// Publishes the last window to a sink that shows only the last window.
    fn snapshot(
        &self,
        sink: &mut dyn Sink,
        cursor: &Cursor,
        scored_to: Timestamp,
    ) -> Result<Result<usize, Failure>, StepError> {
        let last = store::scores::read(self.store, &self.document.name, scored_to)?;
        let end = RunEnd {
            now: self.now,
            scored_to,
            windows_total: cursor.windows_total,
            drift: cursor.drift.as_ref(),
        };
        Ok(sink.publish(&Batch {
            pipeline: &self.document.name,
            store: self.store,
            windows: last.as_slice(),
            features: None,
            end: Some(end),
        }))
    }
}
