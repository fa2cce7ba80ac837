//! Records sources without a past: takes samples at each step and appends them to segments.

use std::path::{Path, PathBuf};

use contract::{Span, StepError, Timestamp};
use document::sections::Collect as Sections;
use frames::samples::SampleRows;
use store::ObjectStore;

use crate::recorded::{Appender, Place, Sent, compact};
use crate::source::{Live, live};

/// What is recorded, and where.
#[derive(Debug, Clone, Copy)]
pub struct Recording<'a> {
    /// The document.
    pub document: &'a Sections,
    /// Its folder.
    pub folder: &'a Path,
    /// The store that gets the segments.
    pub store: &'a dyn ObjectStore,
    /// A name that no other recorder of the pipeline has.
    pub recorder: &'a str,
    /// Folder for what is not in the store yet; a recorder that starts again continues from it.
    pub spool: &'a Path,
}

/// Takes samples of all sources of a document that have no past.
pub struct Recorder<'a> {
    recording: Recording<'a>,
    sources: Vec<(Place, Box<dyn Live + 'a>, Appender<'a>)>,
    compacted: Option<Timestamp>,
}

/// What happened at a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Rows that were appended.
    pub rows: usize,
    /// Segments that went to the store.
    pub sent: usize,
    /// What failed, in sentences; the next step tries again.
    pub failures: Vec<String>,
}

impl<'a> Recorder<'a> {
    /// Opens the sources and their spools.
    ///
    /// Errors: usage for a document without such a source.
    pub fn open(recording: Recording<'a>) -> Result<Self, StepError> {
        let document = recording.document;
        let mut sources = Vec::new();
        for (name, settings) in &document.sources {
            let Some(source) = live(name, settings, (recording.folder, document.step))? else {
                continue;
            };
            let place = Place {
                pipeline: document.name.clone(),
                source: name.clone(),
                recorder: recording.recorder.to_owned(),
            };
            let spool = recording.spool.join(name);
            let columns = source.columns();
            let appender = Appender::open(recording.store, place.clone(), columns, &spool)?;
            sources.push((place, source, appender));
        }
        if sources.is_empty() {
            return Err(StepError::usage(format!(
                "the pipeline `{}` has no source to record",
                document.name
            ))
            .hint(
                "the kinds `exporter`, and `tetragon` with `follow`, have no past and are recorded",
            ));
        }
        Ok(Self { recording, sources, compacted: None })
    }

    /// Returns the end of the first step that ends after a time.
    pub fn next(&self, after: Timestamp) -> Timestamp {
        let step = self.recording.document.step;
        after.floor(step) + step
    }

    /// Takes samples for the step that ends at `time`, and sends what is over.
    ///
    /// Errors: a spool that cannot be written. A source or store that cannot be reached is reported in the result.
    pub fn step(&mut self, time: Timestamp) -> Result<Step, StepError> {
        let mut step = Step::default();
        for (place, source, appender) in &mut self.sources {
            match source.take(time) {
                Ok(taken) => {
                    step.failures.extend(taken.failures);
                    step.rows += taken.rows.times.len();
                    for rows in by_time(taken.rows) {
                        appender.append(&rows)?;
                    }
                }
                Err(error) => step.failures.push(format!("source `{}`: {error}", place.source)),
            }
            send(appender, &mut step);
        }
        self.compact(time, &mut step);
        Ok(step)
    }

    /// Ends the open segments and sends all that waits.
    pub fn finish(&mut self) -> Result<Step, StepError> {
        let mut step = Step::default();
        for (_, _, appender) in &mut self.sources {
            appender.close()?;
            send(appender, &mut step);
        }
        Ok(step)
    }

    /// Compacts the day before, once it has been over for ten minutes.
    fn compact(&mut self, time: Timestamp, step: &mut Step) {
        let day = Span::from_seconds(86_400);
        let before = (time - Span::from_seconds(600)).floor(day) - day;
        if self.compacted.is_some_and(|compacted| compacted >= before) {
            return;
        }
        let work: PathBuf = self.recording.spool.join("compact");
        for (place, _, _) in &self.sources {
            let made = fs_err::create_dir_all(&work)
                .map_err(|error| StepError::writing(&work, &error))
                .and_then(|()| compact(self.recording.store, place, before, &work));
            if let Err(error) = made {
                step.failures.push(format!("compaction of {}: {error}", before.date()));
                return;
            }
        }
        self.compacted = Some(before);
    }
}

/// Returns the rows of each time by themselves.
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

fn send(appender: &mut Appender<'_>, step: &mut Step) {
    match appender.send() {
        Ok(Sent { segments, dropped }) => {
            step.sent += segments;
            if dropped > 0 {
                step.failures.push(format!("{dropped} segments were dropped: the spool is full"));
            }
        }
        Err(error) => step.failures.push(format!("segments wait on the spool: {error}")),
    }
}
