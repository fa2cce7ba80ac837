//! Asks the sources of a document whether they can be used, query by query.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use contract::{ErrorKind, Span, StepError, Timestamp};
use document::sections::Collect as Sections;
use document::sources::Source as Settings;
use frames::samples::SampleRows;
use serde::Serialize;

use crate::range::Due;
use crate::source::{LiveOpening, Opening, Stop};

/// Steps before the current time in which a series must have a value.
const RECENT_STEPS: i64 = 10;
/// Number of points in time at which the past is probed.
const PROBES: i64 = 20;

/// What a check needs besides the document.
#[derive(Debug, Clone, Copy)]
pub struct Checked<'a> {
    /// The document.
    pub document: &'a Sections,
    /// Its folder.
    pub folder: &'a Path,
    /// Files and folders of sources that are elsewhere than the document says, by source.
    pub data: &'a BTreeMap<String, PathBuf>,
    /// URL of the store with recorded samples.
    pub store: &'a str,
    /// Folder for temporary files.
    pub work: &'a Path,
    /// The evaluation time.
    pub now: Timestamp,
}

/// Result for one query, or for one source without queries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the source.
    pub source: String,
    /// Its kind.
    pub kind: String,
    /// Name of the query; empty for a source without queries.
    pub query: String,
    /// Whether the query can be used.
    pub status: Status,
    /// Series, or entities, with a value in the last steps.
    pub series: usize,
    /// Time of the last value.
    pub last: Option<Timestamp>,
    /// Start of the history: the earliest value within `range`, with a precision of a twentieth of
    /// the range.
    pub since: Option<Timestamp>,
    /// The failure, or what to do.
    pub note: String,
    /// Kind of the error if it failed: a query that the server cannot parse is a usage error.
    #[serde(skip)]
    pub failure: Option<ErrorKind>,
}

/// Whether a query can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has values now and over the whole range.
    Ok,
    /// It has values, but not now or not over the whole range.
    Partial,
    /// It has no value.
    Empty,
    /// The source does not reply.
    Failed,
}

/// Checks all sources of a document; a failure is a finding, never an error.
pub fn check(checked: Checked<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, settings) in &checked.document.sources {
        if settings.queries.is_empty() {
            findings.push(checked.one(name, settings, ""));
        }
        for query in &settings.queries {
            let alone = Settings { queries: vec![query.clone()], ..settings.clone() };
            findings.push(checked.one(name, &alone, &query.name));
        }
    }
    findings
}

/// Returns how many entities have a value in the last steps, in any source.
///
/// Errors: those of the sources.
pub fn entities(checked: Checked<'_>) -> Result<usize, StepError> {
    let step = checked.document.step;
    let end = checked.now.floor(step);
    let recent = Span::from_ms(step.ms().saturating_mul(RECENT_STEPS));
    let mut entities = BTreeSet::new();
    // Rows that are joined to other entities are not entities themselves.
    for (name, settings) in checked.document.sources.iter().filter(|(_, it)| !it.broadcast) {
        let values = checked.values(name, settings, step, due(end - recent, end))?;
        entities.extend(values.entities);
    }
    Ok(entities.len())
}

/// Entities with a value, and the times of the first and the last value.
#[derive(Debug, Default)]
struct Values {
    entities: BTreeSet<String>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// Why there are none.
    diagnosis: Option<String>,
}

impl Values {
    fn add(&mut self, rows: &SampleRows) {
        for (row, time) in rows.times.iter().enumerate() {
            let some = rows.columns.iter().any(|column| {
                column.get(row).is_some_and(|value| value.is_some_and(|value| !value.is_nan()))
            });
            if some {
                self.entities.insert(rows.entities[row].clone());
                self.first = Some(self.first.map_or(*time, |first| first.min(*time)));
                self.last = Some(self.last.map_or(*time, |last| last.max(*time)));
            }
        }
    }
}

impl Checked<'_> {
    fn one(self, name: &str, settings: &Settings, query: &str) -> Finding {
        let kind = settings.kinds().first().map_or("", |(kind, _)| kind).to_owned();
        let mut finding = Finding {
            source: name.to_owned(),
            kind,
            query: query.to_owned(),
            status: Status::Failed,
            series: 0,
            last: None,
            since: None,
            note: String::new(),
            failure: None,
        };
        if let Err(error) = self.fill(name, settings, &mut finding) {
            finding.failure = Some(error.kind);
            finding.note = match error.hint {
                Some(hint) => format!("{}; {hint}", error.message),
                None => error.message,
            };
        }
        finding
    }

    fn fill(self, name: &str, settings: &Settings, finding: &mut Finding) -> Result<(), StepError> {
        let (range, step) = (self.document.range, self.document.step);
        let taken = self.take_now(name, settings, finding)?;
        let end = self.now.floor(step);
        let recent = Span::from_ms(step.ms().saturating_mul(RECENT_STEPS));
        let recent = self.values(name, settings, step, due(end - recent, end))?;
        // Rounded to whole seconds, which is precise enough.
        let probe = Span::from_seconds((range.ms() / 1000 / PROBES).max(1)).max(step);
        let past = self.values(name, settings, probe, due(end - range - probe, end))?;
        finding.series = recent.entities.len().max(taken);
        finding.last = recent.last.or(past.last);
        finding.since = [recent.first, past.first].into_iter().flatten().min();
        let is_long = finding.since.is_some_and(|since| since <= end - range + probe + probe);
        (finding.status, finding.note) = match (finding.since, finding.series, is_long) {
            (None, 0, _) => {
                (Status::Empty, recent.diagnosis.unwrap_or_else(|| empty_note(&finding.kind)))
            }
            (None, ..) => (Status::Partial, "nothing is recorded yet".to_owned()),
            (Some(since), 0, _) => (
                Status::Partial,
                recent.diagnosis.unwrap_or_else(|| {
                    format!(
                        "no value in the last {RECENT_STEPS} steps; the first one is of {since}"
                    )
                }),
            ),
            (Some(since), _, false) => (
                Status::Partial,
                format!("the past reaches back {}, `range` asks for {range}", end - since),
            ),
            (Some(_), _, true) => (Status::Ok, String::new()),
        };
        Ok(())
    }

    /// Reads the current values of a source without history; returns its number of entities.
    fn take_now(
        self,
        name: &str,
        settings: &Settings,
        finding: &mut Finding,
    ) -> Result<usize, StepError> {
        let (folder, step) = (self.folder, self.document.step);
        let opening = LiveOpening { name, settings, folder, step };
        let Some(mut source) = opening.open()? else { return Ok(0) };
        let taken = source.take(self.now)?;
        let entities = taken.rows.times.len();
        match (entities, taken.failures.first()) {
            (0, Some(failure)) => Err(StepError::unavailable(failure.clone())),
            (0, None) => Err(StepError::refused(
                "no sample: there is no endpoint and no event file, or no event yet",
            ).hint("check `endpoints`, `service` and `file` of the source, and that its event files are written")),
            (_, failure) => {
                finding.note = failure.cloned().unwrap_or_default();
                Ok(entities)
            }
        }
    }

    /// Reads the rows of a range at a step.
    fn values(
        self,
        name: &str,
        settings: &Settings,
        step: Span,
        due: Due,
    ) -> Result<Values, StepError> {
        let document = Sections { step, ..self.document.clone() };
        let data = settings
            .data()
            .map(|path| self.data.get(name).cloned().unwrap_or_else(|| self.folder.join(path)));
        let opening = Opening {
            document: &document,
            name,
            settings,
            folder: self.folder,
            data,
            due,
            // Failures are reported, and no window waits for a later tick.
            give_up_until: None,
            takes_all: false,
            is_scoring: true,
            shard: None,
            recorded: Some(self.store),
            pins: None,
            work: self.work,
            record: None,
        };
        let mut source = opening.open()?;
        // A table out of order is read a second time, sorted.
        for _ in 0..2 {
            let mut values = Values::default();
            let read = source.rows(&mut |rows| {
                values.add(&rows);
                Ok(())
            });
            match read {
                Ok(()) => {
                    values.diagnosis = source.diagnosis();
                    return Ok(values);
                }
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::OutOfOrder) => {}
            }
        }
        Err(StepError::bug("a sorted source is not in order of time"))
    }
}

fn empty_note(kind: &str) -> String {
    let note = match kind {
        "prometheus" => "no series: is the metric scraped, and named as in the query?",
        "table" => "no row within `range` before now",
        _ => "no value within `range` before now",
    };
    note.to_owned()
}

/// Returns the counts of the findings by status.
pub fn counts(findings: &[Finding]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for finding in findings {
        let name = match finding.status {
            Status::Ok => "ok",
            Status::Partial => "partial",
            Status::Empty => "empty",
            Status::Failed => "failed",
        };
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn due(after: Timestamp, end: Timestamp) -> Due {
    Due { after, end, scored_to: after }
}
