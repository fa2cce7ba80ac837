//! The scenario log: the true times of faults, as CSV for the step `label` and as JSON lines.
//!
//! Both files are replaced as a whole, so a reader never sees a partial line. A fault is recorded
//! in the JSON lines when it starts and again when it ends; its CSV line is added when it ends. A
//! start without an end is a fault whose worker was killed: [`ScenarioLog::reconcile`] adds a line
//! labelled `transition`, which excludes the affected windows from every metric.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use contract::{Span, StepError, Timestamp, artifact};
use fs_err as fs;
use serde::{Deserialize, Serialize};

/// Label of time that is neither normal nor a fault; the step `label` excludes it.
pub const TRANSITION: &str = "transition";

/// First line of the CSV.
pub const CSV_HEAD: &str = "start,end,label,target\n";

/// How a fault ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It lasted for the requested duration.
    Completed,
    /// It was stopped early, by Ctrl-C or because the runner ended.
    Stopped,
    /// It failed: the cause.
    Failed(String),
    /// Its worker was killed; the time of its end is unknown.
    Lost,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Id of start and end: run and position in the timetable.
    pub id: String,
    /// Name of the scenario file's scenario.
    pub scenario: String,
    /// `local` or `chaos_mesh`.
    pub executor: String,
    /// Kind of the fault.
    pub kind: String,
    /// Label.
    pub label: String,
    /// Entity it happened to; empty for all.
    pub target: String,
    /// Parameters, as in the scenario file.
    pub parameters: serde_json::Value,
    /// When it was requested.
    pub requested_start: Timestamp,
    /// Requested duration.
    pub requested_duration: Span,
    /// Time after its end in which windows are neither normal nor the fault.
    #[serde(default, skip_serializing_if = "is_none")]
    pub guard: Span,
    /// When it started.
    pub start: Timestamp,
    /// When it and all its processes had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<End>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(span: &Span) -> bool {
    *span == Span::ZERO
}

/// The two files of a scenario log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioLog {
    csv: PathBuf,
    json_lines: PathBuf,
}

/// Lease of a log, held while a scenario that writes it runs; it ends at the latest with the
/// process.
#[derive(Debug)]
pub struct Lease {
    _file: File,
}

impl ScenarioLog {
    /// Makes the log whose CSV has the path `path`.
    pub fn new(path: &Path) -> Self {
        Self { csv: path.to_owned(), json_lines: path.with_extension("jsonl") }
    }

    /// Returns the path of the CSV.
    pub fn csv(&self) -> &Path {
        &self.csv
    }

    /// Takes the lease of the log; refused while another runner holds it, or if the CSV has lines
    /// that no runner wrote.
    pub fn lease(&self) -> Result<Lease, StepError> {
        let file = self.lock_file("runner")?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let log = self.csv.display();
                return Err(StepError::usage(format!(
                    "another scenario is writing the log `{log}`"
                ))
                .hint("wait until it has ended, or set another `log` in this scenario file"));
            }
            Err(TryLockError::Error(error)) => return Err(StepError::writing(&self.csv, &error)),
        }
        if self.csv.exists() && !self.json_lines.exists() {
            let log = self.csv.display();
            return Err(StepError::usage(format!("the log `{log}` was not written by a scenario"))
                .hint("set `log` in the scenario file to another path"));
        }
        Ok(Lease { _file: file })
    }

    /// Returns whether a runner holds the lease now; writes nothing.
    pub fn is_running(&self) -> bool {
        let file = fs::File::open(self.lock_path("runner"));
        let lock = file.map(|file| file.into_parts().0.try_lock());
        matches!(lock, Ok(Err(TryLockError::WouldBlock)))
    }

    fn lock_path(&self, purpose: &str) -> PathBuf {
        let name = self.csv.file_name().unwrap_or_default().to_string_lossy();
        self.csv.with_file_name(format!(".{name}.{purpose}.lock"))
    }

    fn lock_file(&self, purpose: &str) -> Result<File, StepError> {
        let path = self.lock_path(purpose);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| StepError::writing(folder, &error))?;
        }
        let options = fs::OpenOptions::new().create(true).append(true).open(&path);
        options.map(|file| file.into_parts().0).map_err(|error| StepError::writing(&path, &error))
    }

    /// Records the start of a fault.
    pub fn started(&self, record: &Record) -> Result<(), StepError> {
        let _append = self.append_lock()?;
        self.append_json(record)
    }

    /// Records the end of a fault: a JSON line, and the CSV line that `label` reads.
    pub fn ended(&self, record: &Record) -> Result<(), StepError> {
        let _append = self.append_lock()?;
        self.append_json(record)?;
        self.write_csv()
    }

    /// Returns the last state of each fault, in order of their starts.
    pub fn records(&self) -> Result<Vec<Record>, StepError> {
        let mut records: Vec<Record> = Vec::new();
        for (index, line) in read_text(&self.json_lines)?.lines().enumerate() {
            let name = format!("{}:{}", self.json_lines.display(), index + 1);
            let record: Record = artifact::parse_json(&name, line.as_bytes())?;
            match records.iter_mut().find(|other| other.id == record.id) {
                Some(known) => *known = record,
                None => records.push(record),
            }
        }
        Ok(records)
    }

    /// Adds an end to each fault that has none; call it with the lease held. Its worker was killed,
    /// so the fault may have lasted until its own timeout. A line that the CSV lacks after a kill
    /// is added.
    pub fn reconcile(&self) -> Result<Vec<Record>, StepError> {
        let mut lost = Vec::new();
        for mut record in self.records()?.into_iter().filter(|record| record.end.is_none()) {
            record.end = Some(record.start + record.requested_duration);
            record.outcome = Some(End::Lost);
            self.ended(&record)?;
            lost.push(record);
        }
        if self.json_lines.exists() {
            let _append = self.append_lock()?;
            self.write_csv()?;
        }
        Ok(lost)
    }

    fn append_lock(&self) -> Result<File, StepError> {
        let file = self.lock_file("append")?;
        file.lock().map_err(|error| StepError::writing(&self.csv, &error))?;
        Ok(file)
    }

    fn append_json(&self, record: &Record) -> Result<(), StepError> {
        let mut text = read_text(&self.json_lines)?;
        let line = serde_json::to_string(record)
            .map_err(|error| StepError::bug(format!("cannot write JSON: {error}")))?;
        text.push_str(&line);
        text.push('\n');
        artifact::write_file(&self.json_lines, text.as_bytes())
    }

    /// Writes the CSV anew from the JSON lines.
    fn write_csv(&self) -> Result<(), StepError> {
        let mut text = CSV_HEAD.to_owned();
        for record in self.records()? {
            text.push_str(&record.csv_lines()?.concat());
        }
        artifact::write_file(&self.csv, text.as_bytes())
    }
}

impl Record {
    /// Returns the lines of the CSV with line endings: the fault, and the guard time after it as a
    /// `transition`; none for a fault that has not ended or took no time.
    pub fn csv_lines(&self) -> Result<Vec<String>, StepError> {
        let Some(end) = self.end.filter(|end| *end > self.start) else { return Ok(Vec::new()) };
        let label = match &self.outcome {
            Some(End::Lost) => TRANSITION,
            Some(End::Completed | End::Stopped | End::Failed(_)) | None => &self.label,
        };
        let mut lines = vec![self.line(self.start, end, label)?];
        if self.guard > Span::ZERO {
            lines.push(self.line(end, end + self.guard, TRANSITION)?);
        }
        Ok(lines)
    }

    fn line(&self, start: Timestamp, end: Timestamp, label: &str) -> Result<String, StepError> {
        let broken = |error: &dyn std::fmt::Display| {
            StepError::bug(format!("cannot write the scenario log: {error}"))
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        let cells = [&start.to_string(), &end.to_string(), label, &self.target];
        writer.write_record(cells).map_err(|error| broken(&error))?;
        let bytes = writer.into_inner().map_err(|error| broken(&error))?;
        String::from_utf8(bytes).map_err(|error| broken(&error))
    }
}

fn read_text(path: &Path) -> Result<String, StepError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(StepError::reading(path, &error)),
    }
}
