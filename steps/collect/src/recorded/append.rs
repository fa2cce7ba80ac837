//! Writes segments: nothing is lost or doubled when the recorder is killed or the store is away.
//!
//! The rows of the minute that is not over are lines of a log on disk, synced at each append. When the
//! minute is over they become a segment on the spool, and then the log is emptied. Segments go from
//! the spool to the store, oldest first, and are removed there when the store has them. A recorder
//! that starts again continues from what its spool holds.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use contract::{StepError, Timestamp, artifact};
use frames::SamplesWriter;
use frames::samples::SampleRows;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use store::{Condition, ObjectStore};

use super::{Place, SEGMENT, file_name, times};

/// Segments that wait on the spool at most: a week of minutes. Older ones are dropped.
const LONGEST_SPOOL: usize = 7 * 24 * 60;

/// Appends rows and sends segments.
#[derive(Debug)]
pub struct Appender<'a> {
    store: &'a dyn ObjectStore,
    place: Place,
    columns: Vec<String>,
    spool: PathBuf,
    rows: SampleRows,
    last: Option<Timestamp>,
    skipped: usize,
}

/// What became of the segments on the spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Segments that the store has now.
    pub segments: usize,
    /// Segments that were dropped, since too many were waiting.
    pub dropped: usize,
}

/// A row in the log.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    time_ms: i64,
    entity: String,
    values: Vec<Option<f64>>,
}

impl<'a> Appender<'a> {
    /// Opens the spool, a folder that no other recorder uses, and continues from what it holds.
    ///
    /// Errors: refused for a spool of other columns, unavailable for one that cannot be written.
    pub fn open(
        store: &'a dyn ObjectStore,
        place: Place,
        columns: Vec<String>,
        spool: &Path,
    ) -> Result<Self, StepError> {
        fs::create_dir_all(spool).map_err(|error| StepError::writing(spool, &error))?;
        let rows = empty(columns.len());
        let spool = spool.to_owned();
        let mut appender = Self { store, place, columns, spool, rows, last: None, skipped: 0 };
        appender.last = appender.waiting()?.last().and_then(|name| times(name)).map(|it| it.1);
        appender.replay()?;
        Ok(appender)
    }

    /// Returns how many rows were skipped: those of a time that was appended before, as after the
    /// clock was set back.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Returns the time of the last row.
    pub fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Adds the rows of one time, durably. A row of the next minute ends the segment before it.
    pub fn append(&mut self, rows: &SampleRows) -> Result<(), StepError> {
        let Some(time) = rows.times.first().copied() else { return Ok(()) };
        if self.last.is_some_and(|last| time <= last) {
            self.skipped += rows.times.len();
            return Ok(());
        }
        let open = self.rows.times.first().map(|first| first.floor(SEGMENT));
        if open.is_some_and(|open| open != time.floor(SEGMENT)) {
            self.close()?;
        }
        let mut text = Vec::new();
        for row in 0..rows.times.len() {
            // JSON has no word for what is not finite: such a value is a gap.
            let value = |column: &Vec<Option<f64>>| column[row].filter(|value| value.is_finite());
            let line = Line {
                time_ms: rows.times[row].ms(),
                entity: rows.entities[row].clone(),
                values: rows.columns.iter().map(value).collect(),
            };
            serde_json::to_writer(&mut text, &line)
                .map_err(|e| StepError::bug(format!("cannot write a row as JSON: {e}")))?;
            text.push(b'\n');
            self.push(line);
        }
        let log = self.log();
        let written =
            fs::OpenOptions::new().create(true).append(true).open(&log).and_then(|mut file| {
                file.write_all(&text)?;
                file.sync_data()
            });
        written.map_err(|error| StepError::writing(&log, &error))?;
        self.last = Some(time);
        Ok(())
    }

    /// Ends the segment: its rows go to the spool. Without rows nothing happens.
    pub fn close(&mut self) -> Result<(), StepError> {
        if let (Some(first), Some(last)) = (self.rows.times.first(), self.rows.times.last()) {
            let path = self.spool.join(file_name(*first, *last));
            let names: Vec<&str> = self.columns.iter().map(String::as_str).collect();
            let mut writer = SamplesWriter::create(&path, &names, false)?;
            writer.write(&self.rows)?;
            writer.publish()?;
        }
        self.rows = empty(self.columns.len());
        match fs::remove_file(self.log()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StepError::writing(&self.log(), &error))
            }
            _ => Ok(()),
        }
    }

    /// Sends what waits on the spool, oldest first.
    ///
    /// Errors: those of the store; what was not sent waits on.
    pub fn send(&mut self) -> Result<Sent, StepError> {
        let waiting = self.waiting()?;
        let dropped = waiting.len().saturating_sub(LONGEST_SPOOL);
        let mut sent = Sent { segments: 0, dropped };
        for (index, name) in waiting.iter().enumerate() {
            let path = self.spool.join(name);
            if let Some((first, last)) = times(name).filter(|_| index >= dropped) {
                let bytes = fs::read(&path).map_err(|error| StepError::reading(&path, &error))?;
                // A conflict means that the segment was sent before, and not removed here.
                drop(self.store.put(&self.place.key(first, last), &bytes, Condition::IfAbsent)?);
                sent.segments += 1;
            }
            fs::remove_file(&path).map_err(|error| StepError::writing(&path, &error))?;
        }
        Ok(sent)
    }

    /// Returns the segments on the spool, oldest first.
    fn waiting(&self) -> Result<Vec<String>, StepError> {
        let names = artifact::files_below(&self.spool)
            .map_err(|error| StepError::reading(&self.spool, &error))?;
        let mut names: Vec<String> =
            names.into_iter().filter(|name| times(name).is_some()).collect();
        names.sort();
        Ok(names)
    }

    fn log(&self) -> PathBuf {
        self.spool.join("open.jsonl")
    }

    /// Takes the rows of the log that are in no segment yet. A line that a kill left unfinished is
    /// the last one, and counts as not appended.
    fn replay(&mut self) -> Result<(), StepError> {
        let log = self.log();
        let text = match fs::read_to_string(&log) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StepError::reading(&log, &error)),
        };
        let done = self.last;
        for line in text.lines() {
            let Ok(line) = serde_json::from_str::<Line>(line) else { break };
            if line.values.len() != self.columns.len() {
                return Err(StepError::refused(format!(
                    "`{}` holds rows of {} columns, expected {}",
                    log.display(),
                    line.values.len(),
                    self.columns.len()
                ))
                .hint("the document has changed: remove the file, or use another spool"));
            }
            let time = Timestamp::from_ms(line.time_ms);
            if done.is_none_or(|done| time > done) {
                self.last = Some(time);
                self.push(line);
            }
        }
        // An unfinished line would make one with the next row.
        self.close()
    }

    fn push(&mut self, line: Line) {
        self.rows.times.push(Timestamp::from_ms(line.time_ms));
        self.rows.entities.push(line.entity);
        let columns = self.rows.columns.iter_mut();
        columns.zip(line.values).for_each(|(column, value)| column.push(value));
    }
}

fn empty(columns: usize) -> SampleRows {
    SampleRows { columns: vec![Vec::new(); columns], ..SampleRows::default() }
}
