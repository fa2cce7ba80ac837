//! Records sources without history: takes samples at each step and appends them to segments.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::{Span, StepError, Timestamp};
use document::sections::Collect as Sections;
use document::sinks::Sink;
use frames::samples::SampleRows;
use store::ObjectStore;

use crate::recorded::{Appender, Carrier, Database, Outbox, Place, ToStore};
use crate::source::{Live, LiveOpening};

/// Maximum time for which a step waits for the store, which is also at most a quarter of a step.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the end of a recording waits for the store.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// What is recorded, and where.
#[derive(Debug, Clone)]
pub struct Recording<'a> {
    /// The document.
    pub document: &'a Sections,
    /// Its sinks, which may include a database that also gets the samples.
    pub exports: &'a BTreeMap<String, Sink>,
    /// Its folder.
    pub folder: &'a Path,
    /// The store that gets the segments.
    pub store: Arc<dyn ObjectStore>,
    /// A name that is unique among the recorders of the pipeline.
    pub recorder: &'a str,
    /// Folder for rows that are not in the store yet; a restarted recorder continues from it.
    pub spool: &'a Path,
}

/// Takes samples of all sources of a document that have no history.
pub struct Recorder<'a> {
    step: Span,
    sources: Vec<(String, Box<dyn Live + 'a>, Appender)>,
    carriers: Vec<Carrier>,
    /// End of the last recorded step.
    last: Option<Timestamp>,
}

/// Result of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Rows that were appended.
    pub rows: usize,
    /// Segments that were sent to the store.
    pub sent: usize,
    /// The failures, in sentences; the next step retries.
    pub failures: Vec<String>,
}

impl<'a> Recorder<'a> {
    /// Opens the sources and their spools.
    ///
    /// Errors: usage for a document without such a source.
    pub fn open(recording: Recording<'a>) -> Result<Self, StepError> {
        let Recording { document, folder, recorder, spool, .. } = recording;
        let pipeline = document.name.as_str();
        let exports = recording.exports.iter();
        let mut databases: Vec<(&String, Database)> = exports
            .filter_map(|(name, sink)| Some((name, Database::of(name, sink, pipeline, folder)?)))
            .collect();
        let (mut sources, mut places) = (Vec::new(), Vec::new());
        // The columns of all sources, in their order, by their names in the samples.
        let mut names = document.columns.iter().map(|column| column.name.clone());
        for (name, settings) in &document.sources {
            let count = settings.columns(document.rate_window).len();
            let own: Vec<String> = names.by_ref().take(count).collect();
            let step = document.step;
            let opening = LiveOpening { name, settings, folder, step };
            let Some(source) = opening.open()? else { continue };
            let spool = spool.join(name);
            let columns = source.columns();
            let outboxes = databases.iter_mut().map(|(sink, database)| {
                let outbox = Outbox::new(&spool.join("exports").join(sink));
                database.add(outbox.clone(), &own);
                outbox
            });
            let appender = Appender::open(columns, &spool, outboxes.collect())?;
            let place = Place {
                pipeline: pipeline.to_owned(),
                source: name.clone(),
                recorder: recorder.to_owned(),
            };
            places.push((place, Outbox::new(&spool)));
            sources.push((name.clone(), source, appender));
        }
        if sources.is_empty() {
            return Err(StepError::usage(format!(
                "the pipeline `{pipeline}` has no source to record"
            ))
            .hint(
                "the kinds `exporter`, and `tetragon` with `follow`, keep no history and are \
                 recorded",
            ));
        }
        let mut to_store = ToStore {
            store: recording.store,
            sources: places,
            work: spool.join("compact"),
            compacted: None,
        };
        let shown = to_store.store.describe();
        let mut carriers = vec![Carrier::start(shown, move |time| to_store.round(time))?];
        for (_, database) in databases {
            let shown = format!("`{}`", database.field());
            carriers.push(Carrier::start(shown, move |_| database.round())?);
        }
        Ok(Self { step: document.step, sources, carriers, last: None })
    }

    /// Returns the end of the first step that ends after a time.
    pub fn next(&self, after: Timestamp) -> Timestamp {
        after.floor(self.step) + self.step
    }

    /// Takes samples for the step that ends at `time`, and sends completed segments.
    ///
    /// Errors: a spool that cannot be written. A source or store that cannot be reached is reported in the result.
    pub fn step(&mut self, time: Timestamp) -> Result<Step, StepError> {
        let mut step = Step::default();
        for (name, source, appender) in &mut self.sources {
            match source.take(time) {
                Ok(taken) => {
                    step.failures.extend(taken.failures);
                    step.rows += taken.rows.times.len();
                    for rows in by_time(taken.rows) {
                        appender.append(&rows)?;
                    }
                }
                Err(error) => step.failures.push(format!("source `{name}`: {error}")),
            }
        }
        self.last = Some(time);
        let patience = (self.step.to_std() / 4).min(PATIENCE);
        Ok(self.carry(time, patience, step))
    }

    /// Ends the open segments, and sends waiting segments for at most a second.
    pub fn finish(&mut self) -> Result<Step, StepError> {
        for (_, _, appender) in &mut self.sources {
            appender.close()?;
        }
        let Some(time) = self.last else { return Ok(Step::default()) };
        Ok(self.carry(time, LAST_PATIENCE, Step::default()))
    }

    fn carry(&mut self, time: Timestamp, patience: Duration, mut step: Step) -> Step {
        let until = Instant::now() + patience;
        self.carriers.iter_mut().for_each(|carrier| carrier.begin(time));
        for carrier in &mut self.carriers {
            let carried = carrier.end(time, until);
            step.sent += carried.sent;
            step.failures.extend(carried.failures);
        }
        step
    }
}

/// Splits rows by time.
fn by_time(rows: SampleRows) -> Vec<SampleRows> {
    let mut parts = Vec::new();
    let mut rest = rows;
    while let Some(last) = rest.times.last().copied() {
        // Rows are in order of time.
        let first = rest.times.partition_point(|time| *time < last);
        parts.push(SampleRows {
            times: rest.times.split_off(first),
            entities: rest.entities.split_off(first),
            labels: Vec::new(),
            columns: rest.columns.iter_mut().map(|column| column.split_off(first)).collect(),
        });
    }
    parts.reverse();
    parts
}
