//! The source `postgres`: rows of a table or a query, page by page in order of time.

mod query;

use std::collections::BTreeMap;

use contract::{Outcome, Span, StepError, Timestamp};
use document::sources::Entity;
use document::sources::postgres::PostgresSource;
use frames::samples::{SampleRows, text_number};
use postgres::{Access, Row, Session};

use crate::range::{Due, OTHER_RANGE_HINT};
use crate::source::{Each, Opener, Opening, Source, Stop};
use query::{Parameter, Query, RawTime};

/// A table in a database, and its columns.
#[derive(Debug)]
struct Postgres<'a> {
    /// Field of the source in the document.
    field: String,
    settings: &'a PostgresSource,
    entity: &'a Entity,
    step: Span,
    due: Due,
    /// Set for a tick, which may find no new row; a training may not.
    is_scoring: bool,
    session: Session,
    query: Query,
    seen: Seen,
}

/// Statistics of the rows.
#[derive(Debug, Default)]
struct Seen {
    pages: usize,
    has_values: bool,
    /// Number of rows whose time is not a whole step.
    off_grid: usize,
}

impl Opener for PostgresSource {
    /// Opens the source: connects, and finds the columns.
    fn open<'a>(&'a self, opening: Opening<'a>) -> Result<Box<dyn Source + 'a>, StepError> {
        let settings = self;
        let field = opening.field("postgres");
        let mut session = Session::connect(&field, &settings.server, opening.folder)?;
        let entity = &opening.settings.entity;
        let selection = opening.document.shards.selection(opening.shard);
        let selection = selection.filter(|_| settings.narrow_to_shard);
        let query = Query::find(&field, settings, entity, selection.as_ref(), &mut session)?;
        Ok(Box::new(Postgres {
            field,
            settings,
            entity,
            step: opening.document.step,
            due: opening.due,
            is_scoring: opening.is_scoring,
            session,
            query,
            seen: Seen::default(),
        }))
    }
}

impl Source for Postgres<'_> {
    fn columns(&self) -> Vec<String> {
        self.query.samples.iter().chain(self.entity.texts.keys()).cloned().collect()
    }

    fn is_labelled(&self) -> bool {
        self.settings.label.is_some()
    }

    fn rows(&mut self, each: &mut Each<'_>) -> Result<(), Stop> {
        self.seen = Seen::default();
        let mut after = self.query.time.raw(self.due.after);
        let end = self.query.time.raw(self.due.end);
        loop {
            let (page, last) = self.page(after, end)?;
            let Some(last) = last else { return Ok(()) };
            self.seen.pages += 1;
            let is_last = page.times.len() < self.settings.page_rows as usize;
            self.note(&page);
            each(page)?;
            if is_last {
                return Ok(());
            }
            after = last;
        }
    }

    fn finish(&mut self, outcome: &mut Outcome) -> Result<(), StepError> {
        if !self.seen.has_values && !self.is_scoring {
            return Err(self.nothing()?);
        }
        for column in &self.query.left_out {
            outcome.warn(format!("`{}`: column `{column}` holds no numbers", self.field));
        }
        if self.seen.off_grid > 0 {
            outcome.warn(format!(
                "{} rows of `{}` do not lie on whole steps of {}",
                self.seen.off_grid, self.field, self.step
            ));
        }
        Ok(())
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        [("pages", self.seen.pages)].into()
    }
}

impl Postgres<'_> {
    /// Fetches the rows after a time: `page_rows` rows, and all further rows with the time of the
    /// last one. Returns that time with them; `None` if no row is left.
    fn page(
        &mut self,
        after: RawTime,
        end: RawTime,
    ) -> Result<(SampleRows, Option<RawTime>), StepError> {
        let query = &self.query;
        let rows = self.session.transaction("reading rows", Access::Read, async |client| {
            let bounds = [after.parameter(), end.parameter()];
            Ok(client.query_typed(&query.sql, &bounds.each_ref().map(Parameter::typed)).await?)
        })?;
        let mut samples = SampleRows {
            columns: vec![Vec::with_capacity(rows.len()); self.columns().len()],
            ..SampleRows::default()
        };
        let mut last = None;
        let mut order = Vec::with_capacity(rows.len());
        for row in &rows {
            let (raw, key) = self.key(row)?;
            last = Some(raw);
            order.push(key);
        }
        // The server may return rows of one time in any order.
        let texts_from = query::KEYS + query.samples.len();
        let values = |row: &Row| -> Result<Vec<Option<f64>>, StepError> {
            let numbers = (query::KEYS..texts_from).map(|index| self.cell(row, index));
            let texts = (texts_from..texts_from + self.entity.texts.len()).map(|index| {
                let text: Option<String> = self.cell(row, index)?;
                Ok(text.and_then(|text| text_number(&text)))
            });
            numbers.chain(texts).collect()
        };
        let values = rows.iter().map(values).collect::<Result<Vec<_>, _>>()?;
        let mut rows: Vec<(Key, Vec<Option<f64>>)> = order.into_iter().zip(values).collect();
        rows.sort_by(|(one, left), (other, right)| one.cmp(other).then_with(|| total(left, right)));
        for ((time, entity, label), values) in rows {
            samples.times.push(time);
            samples.entities.push(self.entity.rename(&entity).to_owned());
            samples.labels.push(label);
            samples.columns.iter_mut().zip(values).for_each(|(column, it)| column.push(it));
        }
        if !self.is_labelled() {
            samples.labels.clear();
        }
        Ok((samples, last))
    }

    /// Returns time, entity and label of a row.
    fn key(&self, row: &Row) -> Result<(RawTime, Key), StepError> {
        let raw = self.query.time.with(self.cell(row, 0)?);
        let entity: Option<String> = self.cell(row, 1)?;
        let time = raw.time();
        let entity = entity.ok_or_else(|| {
            let column = self.settings.entity.as_deref().unwrap_or_default();
            StepError::refused(format!("`{}`: the row at `{time}` has no `{column}`", self.field))
                .hint("exclude such rows in `query`")
        })?;
        let label: Option<String> = self.cell(row, 2)?;
        Ok((raw, (time, entity, label.unwrap_or_default())))
    }

    fn cell<'r, T: postgres::FromSql<'r>>(
        &self,
        row: &'r Row,
        index: usize,
    ) -> Result<T, StepError> {
        row.try_get(index)
            .map_err(|error| StepError::bug(format!("`{}`: cell {index}: {error}", self.field)))
    }

    fn note(&mut self, rows: &SampleRows) {
        let step = self.step;
        self.seen.off_grid += rows.times.iter().filter(|time| time.floor(step) != **time).count();
        self.seen.has_values |= rows.columns.iter().flatten().any(Option::is_some);
    }

    /// Makes the error of a training without rows.
    fn nothing(&mut self) -> Result<StepError, StepError> {
        let sql = &self.query.bounds;
        let row = self.session.transaction("looking for rows", Access::Read, async |client| {
            Ok(client.query_typed_one(sql, &[]).await?)
        })?;
        let bounds: (Option<i64>, Option<i64>) = (self.cell(&row, 0)?, self.cell(&row, 1)?);
        let (Due { after, end, .. }, field) = (self.due, &self.field);
        let time = |raw| self.query.time.with(raw).time();
        Ok(match bounds {
            (Some(first), Some(last)) => StepError::refused(format!(
                "`{field}` has no value from `{after}` to `{end}`: its rows are from `{}` to `{}`",
                time(first),
                time(last)
            ))
            .hint(OTHER_RANGE_HINT),
            _ => StepError::refused(format!("`{field}` has no row"))
                .hint("run the query in psql, and check that this user may see the rows"),
        })
    }
}

/// Time, entity and label.
type Key = (Timestamp, String, String);

/// Compares rows number by number, a gap before any number.
fn total(left: &[Option<f64>], right: &[Option<f64>]) -> std::cmp::Ordering {
    let pairs = left.iter().zip(right).map(|(left, right)| match (left, right) {
        (Some(left), Some(right)) => left.total_cmp(right),
        (left, right) => left.is_some().cmp(&right.is_some()),
    });
    pairs.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
}
