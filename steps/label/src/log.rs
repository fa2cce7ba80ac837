//! Reads a scenario log: CSV with start, end, label and target.

use std::path::Path;

use contract::{StepError, Timestamp};
use csv::{ReaderBuilder, StringRecord};
use fs_err as fs;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scenario {
    /// Line in the file, for errors.
    pub(crate) line: u64,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) label: String,
    /// The affected entity; empty for all entities.
    pub(crate) target: String,
}

/// Accepted names of each column.
const START: [&str; 2] = ["start", "start_time"];
const END: [&str; 2] = ["end", "end_time"];
const LABEL: [&str; 1] = ["label"];
const TARGET: [&str; 2] = ["target", "target_node"];
/// Targets that mean all entities.
const EVERYBODY: [&str; 2] = ["all", "*"];

/// Reads a log; unknown columns are ignored.
pub(crate) fn read(path: &Path) -> Result<Vec<Scenario>, StepError> {
    let bytes = fs::read(path).map_err(|error| StepError::reading(path, &error))?;
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(bytes.as_slice());
    let broken =
        |error: &csv::Error| refused(path, error.position().map(csv::Position::line), error);
    let header: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(|cell| cell.trim().to_lowercase()).collect(),
        Err(error) => return Err(broken(&error)),
    };
    let columns = Columns::find(path, &header)?;
    let mut scenarios = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| broken(&error))?;
        let line = record.position().map(csv::Position::line);
        if record.len() != header.len() {
            let message =
                format!("{} cells, expected {} as in the header", record.len(), header.len());
            return Err(refused(path, line, &message));
        }
        let scenario = columns.scenario(&record, line.unwrap_or(0));
        scenarios.push(scenario.map_err(|message| refused(path, line, &message))?);
    }
    Ok(scenarios)
}

/// Makes the error about a line of a file.
pub(crate) fn refused(path: &Path, line: Option<u64>, what: &dyn std::fmt::Display) -> StepError {
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    StepError::refused(format!("`{}{line}`: {what}", path.display()))
        .hint("a scenario log is CSV with the columns start, end, label and, optionally, target")
}

struct Columns {
    start: usize,
    end: usize,
    label: usize,
    target: Option<usize>,
}

impl Columns {
    fn find(path: &Path, header: &[String]) -> Result<Self, StepError> {
        let optional = |names: &[&str]| {
            let mut found =
                (0..header.len()).filter(|index| names.contains(&header[*index].as_str()));
            let column = found.next();
            match found.next() {
                None => Ok(column),
                Some(second) => {
                    let message = format!("a second column `{}`", header[second]);
                    Err(refused(path, Some(1), &message))
                }
            }
        };
        let required = |names: &[&str]| {
            optional(names)?.ok_or_else(|| {
                refused(path, Some(1), &format!("no column `{}`", names[0]))
                    .hint("a scenario log has the columns start,end,label,target")
            })
        };
        Ok(Self {
            start: required(&START)?,
            end: required(&END)?,
            label: required(&LABEL)?,
            target: optional(&TARGET)?,
        })
    }

    fn scenario(&self, record: &StringRecord, line: u64) -> Result<Scenario, String> {
        let cell = |column: usize| record.get(column).unwrap_or_default().trim();
        let start = time("start", cell(self.start))?;
        let end = time("end", cell(self.end))?;
        if end <= start {
            return Err(format!("end `{end}` is not after start `{start}`"));
        }
        let label = cell(self.label).to_owned();
        if label.is_empty() {
            return Err("column `label` is empty".to_owned());
        }
        let target = self.target.map(cell).filter(|target| !EVERYBODY.contains(target));
        Ok(Scenario { line, start, end, label, target: target.unwrap_or_default().to_owned() })
    }
}

/// Parses RFC 3339 or seconds since 1970.
fn time(column: &str, text: &str) -> Result<Timestamp, String> {
    /// Larger numbers (after the year 5138) are milliseconds.
    const FARTHEST_SECONDS: f64 = 1e11;
    let wrong = || {
        format!(
            "column `{column}`: `{text}` is not a time such as 2026-11-21T08:36:07Z, nor seconds since 1970"
        )
    };
    match text.parse::<f64>() {
        Ok(seconds) if seconds.abs() <= FARTHEST_SECONDS =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "checked to be far inside i64")]
            Ok(Timestamp::from_ms((seconds * 1000.0).round() as i64))
        }
        Ok(_) => Err(wrong()),
        Err(_) => text.parse().map_err(|_| wrong()),
    }
}
