//! The source `influxdb`: queries a server in `InfluxQL`, Flux or SQL, one measurement at a time,
//! chunk by chunk.
//!
//! It queries raw rows, not aggregates: the buckets of `GROUP BY time()` have their start as their
//! time, and a counter cannot be aggregated by its mean.

mod diagnose;
mod flux;
mod question;
mod reply;
mod server;
mod sql;
mod windows;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use contract::deadline::waits_for;
use contract::{Span, StepError, TimeRange, Timestamp};
use document::http::Http;
use document::shards::Selection;
use document::sources::influxdb::{InfluxLanguage, InfluxdbColumn, InfluxdbSource};

use super::prometheus::chunk::Chunk;
use super::prometheus::column::Column;
use super::prometheus::pieces::Stop;
use super::prometheus::reply::{Reply, Series};
use super::queries::{Answers, Queries};
use crate::range::{ChunkPlan, Due, Grid};
use crate::source::{Opener, Opening, Source};
use question::Scope;
use server::{Failure, Server};
use windows::{Odd, Windows};

/// Label of the series that the rows are made of: its value is the entity.
const ENTITY: &str = "entity";

/// An `InfluxDB` server to query.
struct Influxdb<'a> {
    server: Server,
    settings: &'a InfluxdbSource,
    /// Tag whose value is the row's label.
    label: Option<&'a str>,
    /// Values of the shard, if only its rows are queried.
    selection: Option<Selection>,
    measurements: Vec<Measurement<'a>>,
    rate_window: Span,
    due: Due,
    /// Set for a tick: the next tick requests again what fails now.
    is_tick: bool,
    is_scoring: bool,
    seen: Mutex<Seen>,
}

/// A measurement and its columns, with their numbers in the source.
#[derive(Debug)]
struct Measurement<'a> {
    name: &'a str,
    columns: Vec<(usize, &'a InfluxdbColumn)>,
}

/// Statistics and notes, besides values.
#[derive(Debug, Default)]
struct Seen {
    /// Rows of each measurement.
    rows: BTreeMap<String, usize>,
    odd: Odd,
    /// Reasons why a measurement has no rows, and other notes for operators.
    notes: Vec<String>,
    /// Reason why there are no rows at all.
    diagnosis: Option<String>,
    /// Columns of each measurement: a query in SQL may name no other.
    known: BTreeMap<String, Vec<String>>,
}

impl Opener for Http<InfluxdbSource> {
    /// Opens the source; nothing is sent yet.
    fn open<'a>(&'a self, opening: Opening<'a>) -> Result<Box<dyn Source + 'a>, StepError> {
        let settings = self;
        let mut measurements: Vec<Measurement<'_>> = Vec::new();
        let server = Server::new(&opening.field("influxdb"), settings, opening.folder)?;
        let settings = &settings.own;
        for (index, column) in settings.columns.iter().enumerate() {
            match measurements.iter_mut().find(|known| known.name == column.measurement) {
                Some(known) => known.columns.push((index, column)),
                None => measurements.push(Measurement {
                    name: &column.measurement,
                    columns: vec![(index, column)],
                }),
            }
        }
        let of = |column: &InfluxdbColumn| Column {
            name: column.name.clone(),
            labels: vec![ENTITY.to_owned()],
        };
        let columns = settings.columns.iter().map(of).collect();
        let selection = opening.document.shards.selection(opening.shard);
        let influxdb = Influxdb {
            server,
            settings,
            label: opening.settings.label.as_deref(),
            selection: selection.filter(|_| settings.narrow_to_shard),
            measurements,
            rate_window: opening.document.rate_window,
            due: opening.due,
            is_tick: opening.give_up_until.is_some(),
            is_scoring: opening.is_scoring,
            seen: Mutex::default(),
        };
        Ok(Box::new(Queries::with_columns(influxdb, columns, Opening { record: None, ..opening })))
    }
}

impl Answers for Influxdb<'_> {
    fn for_each_chunk(
        &self,
        mut plan: ChunkPlan,
        write: &mut dyn FnMut(Chunk) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        waits_for(&format!("the source `{}`", self.server.shown()));
        *self.seen() = Seen::default();
        let mut is_asked = false;
        while let Some(grid) = plan.next() {
            is_asked = true;
            let mut series = 0;
            let mut rest = VecDeque::from([grid]);
            while let Some(mut piece) = rest.pop_front() {
                match self.chunk(piece) {
                    Ok(chunk) => {
                        let of_chunk = chunk.replies.iter().map(|reply| reply.series.len());
                        series = series.max(of_chunk.max().unwrap_or(0));
                        write(chunk)?;
                    }
                    Err(Failure::TooLarge(_)) if piece.points > 1 => {
                        let head = piece.take(piece.points / 2);
                        rest.push_front(piece);
                        rest.push_front(head);
                    }
                    Err(Failure::Down(error)) if self.is_tick => {
                        return write(self.stopped(piece, error));
                    }
                    Err(failure) => return Err(failure.error()),
                }
            }
            plan.learn(series);
        }
        if is_asked { self.look_at_gaps() } else { Ok(()) }
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let (requests, retries) = self.server.counts();
        [("requests", requests), ("retries", retries)].into()
    }

    fn notes(&self) -> Vec<String> {
        let seen = self.seen();
        let clock = self.server.clock().and_then(|clock| self.clock_note(clock));
        seen.notes.iter().cloned().chain(seen.odd.notes()).chain(clock).collect()
    }

    fn diagnosis(&self) -> Option<String> {
        self.seen().diagnosis.clone()
    }
}

impl Influxdb<'_> {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queries all measurements of a chunk.
    fn chunk(&self, grid: Grid) -> Result<Chunk, Failure> {
        let mut replies: Vec<Reply> =
            self.settings.columns.iter().map(|_| Reply::default()).collect();
        for measurement in &self.measurements {
            let start = || {
                let columns = measurement.columns.iter().map(|(_, column)| *column).collect();
                Windows::new(grid, self.rate_window, columns, &self.settings.entity_tags)
                    .with_label(self.label)
            };
            let begin = start().begin();
            let range = TimeRange { after: begin, until: grid.last() };
            let known = self.known(measurement.name)?;
            let is_known = |name: &str| {
                known.as_ref().is_none_or(|known| known.iter().any(|known| known == name))
            };
            let (label, selection) = (self.label, self.selection.as_ref());
            let scope = Scope { settings: self.settings, label, selection };
            let query = question::rows(&scope, measurement, range, is_known);
            if query.fields.is_empty() {
                continue;
            }
            let windows = self.server.ask(&query, start, Windows::add)?;
            let mut seen = self.seen();
            *seen.rows.entry(measurement.name.to_owned()).or_default() += windows.rows;
            seen.odd.add(measurement.name, &windows.odd);
            for (column, entity, points) in windows.points() {
                let (index, _) = measurement.columns[column];
                let label = self.label.zip(windows.labels.get(&entity));
                let label = label.map(|(tag, value)| (tag.to_owned(), value.clone()));
                let labels = label.into_iter().chain([(ENTITY.to_owned(), entity)]).collect();
                replies[index].series.push(Series::of(labels, points));
            }
        }
        Ok(Chunk::whole(grid, replies))
    }

    /// Returns the columns of a measurement, requested once, if a query may only name existing
    /// columns.
    fn known(&self, measurement: &str) -> Result<Option<Vec<String>>, Failure> {
        if self.settings.language != InfluxLanguage::Sql {
            return Ok(None);
        }
        if let Some(known) = self.seen().known.get(measurement) {
            return Ok(Some(known.clone()));
        }
        let known = diagnose::fields(&self.server, self.settings, measurement)?;
        self.seen().known.insert(measurement.to_owned(), known.clone());
        Ok(Some(known))
    }

    /// Makes a chunk that ends before its first window, because the server did not reply.
    fn stopped(&self, grid: Grid, error: StepError) -> Chunk {
        let replies = self.settings.columns.iter().map(|_| Reply::default()).collect();
        let stop = Stop { at: grid.first, error, is_partial: false };
        Chunk { stop: Some(stop), ..Chunk::whole(Grid { points: 0, ..grid }, replies) }
    }

    /// Notes why measurements have no rows. A training without any rows is refused.
    fn look_at_gaps(&self) -> Result<(), StepError> {
        let has_rows = |name: &str| self.seen().rows.get(name).is_some_and(|rows| *rows > 0);
        let silent: Vec<&Measurement<'_>> =
            self.measurements.iter().filter(|it| !has_rows(it.name)).collect();
        // The training has already reported missing columns; a tick has no further information.
        let is_silent = silent.len() == self.measurements.len();
        let mut notes: Vec<String> = Vec::new();
        if !self.is_tick || is_silent {
            let of =
                |it: &&Measurement<'_>| diagnose::silent(&self.server, self.settings, it, self.due);
            notes.extend(silent.iter().map(of));
        }
        let retention = if self.is_tick { None } else { self.retention_note() };
        let mut seen = self.seen();
        seen.diagnosis = notes.first().filter(|_| is_silent).cloned();
        notes.extend(retention);
        seen.notes = notes;
        match &seen.diagnosis {
            Some(diagnosis) if !self.is_scoring => {
                Err(StepError::refused(format!("`{}`: {diagnosis}", self.server.shown()))
                    .hint("`lynceus source check` shows what a source has"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Returns a note if the database's retention is shorter than the requested range.
    fn retention_note(&self) -> Option<String> {
        let (policy, kept) = diagnose::retention(&self.server, self.settings)?;
        let range = self.due.end - self.due.after;
        (kept > Span::ZERO && kept < range).then(|| {
            format!(
                "the retention policy `{policy}` of `{}` keeps {kept}, and {range} are asked for: what is older is gone",
                self.settings.database
            )
        })
    }

    /// Returns a note if the server's clock and the time of this run do not match. A tick is about
    /// the last minutes; a training, or a backfilled tick, may be about any earlier time.
    fn clock_note(&self, clock: Timestamp) -> Option<String> {
        const SLACK: Span = Span::from_seconds(600);
        const DAY: Span = Span::from_seconds(86_400);
        let (ahead, behind) = (clock - self.due.end, self.due.end - clock);
        let (by, word) = if behind > SLACK {
            (behind, "behind")
        } else if self.is_tick && ahead > SLACK && ahead < DAY {
            (ahead, "ahead of")
        } else {
            return None;
        };
        Some(format!(
            "the clock of `{}` shows `{clock}`, {by} {word} the last window: is a clock wrong?",
            self.server.shown()
        ))
    }
}
