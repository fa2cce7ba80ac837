//! Writes segments: no rows are lost or duplicated when the recorder is killed.
//!
//! The rows of the current minute are lines of a log on disk, synced at each append. At the end of
//! the minute they become a segment in the outbox of the store and of each database that gets
//! samples, and then the log is emptied. A restarted recorder continues from the contents of its
//! spool.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use contract::{StepError, Timestamp, artifact};
use frames::SamplesWriter;
use frames::samples::SampleRows;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::send::Outbox;
use super::{SEGMENT, file_name};

/// Appends the rows of one source to its spool.
#[derive(Debug)]
pub struct Appender {
    columns: Vec<String>,
    spool: PathBuf,
    /// Outboxes that get each segment; the outbox of the store is the last one.
    outboxes: Vec<Outbox>,
    rows: SampleRows,
    last: Option<Timestamp>,
    skipped: usize,
}

/// A row in the log.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    time_ms: i64,
    entity: String,
    values: Vec<Option<f64>>,
}

impl Appender {
    /// Opens the spool, a folder that no other recorder uses, and continues from its content. Each
    /// segment goes to the outbox of the store, which is the spool itself, and to these `others`.
    ///
    /// Errors: refused for a spool of other columns, unavailable for a spool that cannot be
    /// written.
    pub fn open(
        columns: Vec<String>,
        spool: &Path,
        others: Vec<Outbox>,
    ) -> Result<Self, StepError> {
        fs::create_dir_all(spool).map_err(|error| StepError::writing(spool, &error))?;
        let mut outboxes = others;
        let store = Outbox::new(spool);
        let waiting = store.newest()?;
        outboxes.push(store);
        let (rows, spool) = (empty(columns.len()), spool.to_owned());
        let mut appender = Self { columns, spool, outboxes, rows, last: None, skipped: 0 };
        appender.last = waiting.max(appender.closed()?);
        appender.replay()?;
        Ok(appender)
    }

    /// Returns how many rows were skipped because their time was appended before, for example after
    /// the clock was set back.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Returns the time of the last row.
    pub fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Adds the rows of one time, durably. A row of the next minute ends the current segment.
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
            // JSON cannot represent values that are not finite, so they become gaps.
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

    /// Ends the segment: its rows go to the outboxes. Without rows nothing happens.
    pub fn close(&mut self) -> Result<(), StepError> {
        if let (Some(first), Some(last)) = (self.rows.times.first(), self.rows.times.last()) {
            let names: Vec<&str> = self.columns.iter().map(String::as_str).collect();
            for outbox in &self.outboxes {
                let path = outbox.path(&file_name(*first, *last));
                let mut writer = SamplesWriter::create(&path, &names, false)?;
                writer.write(&self.rows)?;
                writer.publish()?;
            }
            artifact::write_file(&self.closed_file(), last.ms().to_string().as_bytes())?;
        }
        self.rows = empty(self.columns.len());
        match fs::remove_file(self.log()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StepError::writing(&self.log(), &error))
            }
            _ => Ok(()),
        }
    }

    /// Returns the time of the last row that is in a segment: rows up to this time must not be
    /// recorded again if a source is read again from its beginning, even if the segment was sent
    /// long ago.
    fn closed(&self) -> Result<Option<Timestamp>, StepError> {
        let path = self.closed_file();
        match fs::read_to_string(&path) {
            // An unreadable file is ignored.
            Ok(text) => Ok(text.trim().parse().ok().map(Timestamp::from_ms)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StepError::reading(&path, &error)),
        }
    }

    fn closed_file(&self) -> PathBuf {
        self.spool.join("closed_ms")
    }

    fn log(&self) -> PathBuf {
        self.spool.join("open.jsonl")
    }

    /// Reads the rows of the log that are in no segment yet. After a kill, the last line may be
    /// incomplete; it counts as not appended.
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
                .hint("the document has changed: remove this file, or use another spool"));
            }
            let time = Timestamp::from_ms(line.time_ms);
            if done.is_none_or(|done| time > done) {
                self.last = Some(time);
                self.push(line);
            }
        }
        // The next row would be appended to the incomplete line.
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
