//! Converts replies to rows: one per point in time and entity, one column per query.

use std::collections::{BTreeMap, BTreeSet};

use contract::{Outcome, StepError, Timestamp};
use document::sources::Entity;
use frames::samples::{SampleRows, text_number};

use super::chunk::Chunk;
use super::column::{Column, Merged, shown};
use super::gaps::{Ambiguous, Gaps};
use super::reply::{LabelSet, Point, Series};
use crate::range::Grid;

/// Turns chunks into rows, in order of time.
///
/// If no query names an entity, each point in time has a row, even if it has only gaps, because a
/// minute without data must be reported. Otherwise an entity has a row at the times at which some
/// query has a value for it, because pods come and go. Both hold for any division of the time into
/// chunks.
#[derive(Debug)]
pub(crate) struct Assembler<'a> {
    columns: Vec<Column>,
    entity: &'a Entity,
    /// Label of the series whose value is the row's label.
    label: Option<&'a str>,
    /// The label set of each query's series, for queries without an entity label.
    only: Vec<Option<LabelSet>>,
    /// Whether each query returned any series.
    answered: Vec<bool>,
    by_entity: bool,
    /// Set for a tick, which uses the unambiguous values; a training refuses a query that is
    /// ambiguous most of the time.
    is_scoring: bool,
    /// Whether a row with a value was seen; a training's range begins there.
    begun: bool,
    skipped_rows: usize,
    ignored_points: usize,
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
    /// Rows that had a value.
    rows_with_values: usize,
    pub(crate) gaps: Gaps,
}

/// All series of one entity.
type EntitySeries = BTreeMap<String, Vec<Series>>;

/// Points of each query for one entity, in order of time, and then of each text.
type EntityPoints = Vec<std::vec::IntoIter<Point>>;

impl<'a> Assembler<'a> {
    /// Makes an assembler; for scoring it keeps the rows before the first value.
    pub(crate) fn new(columns: Vec<Column>, entity: &'a Entity, is_scoring: bool) -> Self {
        Self {
            only: vec![None; columns.len()],
            answered: vec![false; columns.len()],
            by_entity: columns.iter().any(|column| !column.labels.is_empty()),
            columns,
            entity,
            label: None,
            is_scoring,
            begun: is_scoring,
            skipped_rows: 0,
            ignored_points: 0,
            warnings: BTreeSet::new(),
            infos: BTreeSet::new(),
            rows_with_values: 0,
            gaps: Gaps::default(),
        }
    }

    /// Takes the rows' labels from this label of the series.
    #[must_use]
    pub(crate) fn with_label(mut self, label: Option<&'a str>) -> Self {
        self.label = label;
        self
    }

    /// Makes the rows of a chunk; chunks must be passed in order of time.
    pub(crate) fn rows(&mut self, chunk: Chunk) -> Result<SampleRows, StepError> {
        let Chunk { grid, replies, holes, .. } = chunk;
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        let mut entities: BTreeMap<String, EntityPoints> = BTreeMap::new();
        if !self.by_entity {
            entities.insert(String::new(), self.no_points());
        }
        for (index, hole) in holes {
            self.gaps.hole(&self.columns[index].name, hole);
        }
        let mut texts: BTreeMap<String, Vec<Vec<Point>>> = BTreeMap::new();
        for (index, reply) in replies.into_iter().enumerate() {
            let named = |text: &String| format!("query `{}`: {text}", self.columns[index].name);
            self.warnings.extend(reply.warnings.iter().map(named));
            self.infos.extend(reply.infos.iter().map(named));
            self.answered[index] |= !reply.series.is_empty();
            for (entity, series) in self.by_entity(index, reply.series)? {
                let label = self.label.and_then(|name| {
                    let mut values = series.iter().filter_map(|it| it.labels.get(name));
                    values.find(|value| !value.is_empty())
                });
                if let Some(label) = label.filter(|_| !labels.contains_key(&entity)) {
                    labels.insert(entity.clone(), label.clone());
                }
                if !self.entity.texts.is_empty() {
                    self.note_texts(&grid, &series, texts.entry(entity.clone()).or_default());
                }
                let points = self.one_a_time(index, &entity, &grid, series)?;
                let of_entity = entities.entry(entity).or_insert_with(|| self.no_points());
                of_entity[index] = points.into_iter();
            }
        }
        for (entity, texts) in texts {
            let Some(points) = entities.get_mut(&entity) else { continue };
            let of_texts = points.iter_mut().skip(self.columns.len());
            for (points, mut text) in of_texts.zip(texts) {
                // The sort is stable: of several series at one time, that of the first query
                // counts.
                text.sort_by_key(|point| point.time_ms);
                text.dedup_by_key(|point| point.time_ms);
                *points = text.into_iter();
            }
        }
        let mut rows = self.merge(&grid, entities);
        if self.label.is_some() {
            let of = |entity: &String| labels.get(entity).cloned().unwrap_or_default();
            rows.labels = rows.entities.iter().map(of).collect();
        }
        Ok(rows)
    }

    fn no_points(&self) -> EntityPoints {
        vec![Vec::new().into_iter(); self.width()]
    }

    /// Returns the number of columns, including those of texts.
    fn width(&self) -> usize {
        self.columns.len() + self.entity.texts.len()
    }

    /// Adds the texts of an entity's series, at the times at which they have values.
    fn note_texts(&self, grid: &Grid, all: &[Series], into: &mut Vec<Vec<Point>>) {
        into.resize_with(self.entity.texts.len(), Vec::new);
        for (label, into) in self.entity.texts.values().zip(into) {
            for series in all {
                let text = series.labels.get(label).and_then(|text| text_number(text));
                let Some(value) = text else { continue };
                let times = series.points.iter().map(|point| point.time_ms);
                let there = times.filter(|time| grid.contains(Timestamp::from_ms(*time)));
                into.extend(there.map(|time_ms| Point { time_ms, value }));
            }
        }
    }

    /// Sorts a query's series by entity; without an entity label all of them belong to one.
    ///
    /// Series without the label are left out with a warning; if no series has it, the query is
    /// wrong.
    fn by_entity(&mut self, index: usize, all: Vec<Series>) -> Result<EntitySeries, StepError> {
        let column = &self.columns[index];
        let mut by_entity = EntitySeries::new();
        let mut without = None;
        for series in all {
            match column.entity_of(self.entity, &series) {
                Some(entity) => by_entity.entry(entity).or_default().push(series),
                None => without = Some(series.labels),
            }
        }
        let Some(labels) = without else { return Ok(by_entity) };
        let error = column.without_entity(&labels);
        if by_entity.is_empty() && !self.is_scoring {
            return Err(error);
        }
        self.warnings.insert(format!("{}: such series are left out", error.message));
        Ok(by_entity)
    }

    /// Merges the points of an entity's series, in order of time.
    fn one_a_time(
        &mut self,
        index: usize,
        entity: &str,
        grid: &Grid,
        mut all: Vec<Series>,
    ) -> Result<Vec<Point>, StepError> {
        self.note_labels(index, &all);
        let mut points = Vec::new();
        for series in &mut all {
            let before = series.points.len();
            series.points.retain(|point| grid.contains(Timestamp::from_ms(point.time_ms)));
            self.ignored_points += before - series.points.len();
            points.append(&mut series.points);
        }
        let Merged { points, twice } = Merged::new(points);
        if twice.is_empty() {
            return Ok(points);
        }
        let column = &self.columns[index];
        let error = column.several(entity, &all);
        if !self.is_scoring && twice.len() > points.len() {
            return Err(error);
        }
        self.gaps.ambiguous(&Ambiguous {
            query: &column.name,
            entity,
            times: &twice,
            step: grid.step,
            reason: &error.message,
        });
        Ok(points)
    }

    /// Warns about a query without an entity label that returns another series than before.
    fn note_labels(&mut self, index: usize, all: &[Series]) {
        let column = &self.columns[index];
        if !column.labels.is_empty() {
            return;
        }
        for series in all {
            let before = self.only[index].replace(series.labels.clone());
            if let Some(before) = before.filter(|before| *before != series.labels) {
                self.warnings.insert(format!(
                    "query `{}` meant the series `{}` and then `{}`",
                    column.name,
                    shown(&before),
                    shown(&series.labels)
                ));
            }
        }
    }

    fn merge(&mut self, grid: &Grid, mut entities: BTreeMap<String, EntityPoints>) -> SampleRows {
        let width = self.width();
        let mut rows = SampleRows { columns: vec![Vec::new(); width], ..SampleRows::default() };
        let mut values = vec![None; width];
        for time in (0..grid.points).map(|index| grid.time(index)) {
            for (entity, points) in &mut entities {
                for (value, points) in values.iter_mut().zip(points) {
                    let here = points.as_slice().first().is_some_and(|p| p.time_ms == time.ms());
                    *value = if here { points.next().map(|point| point.value) } else { None };
                }
                let some = values.iter().take(self.columns.len()).any(Option::is_some);
                self.begun |= some;
                self.rows_with_values += usize::from(some);
                if !some && (self.by_entity || !self.begun) {
                    self.skipped_rows += usize::from(!self.by_entity);
                    continue;
                }
                rows.times.push(time);
                rows.entities.push(entity.clone());
                rows.columns.iter_mut().zip(&values).for_each(|(column, v)| column.push(*v));
            }
        }
        rows
    }

    /// Returns the number of points outside the requested range.
    pub(crate) fn ignored_points(&self) -> usize {
        self.ignored_points
    }

    /// Writes warnings; a training refuses a source without data. Scoring accepts it, because
    /// `score` reports a minute without data.
    pub(crate) fn finish(
        &self,
        scoring: bool,
        nothing_due: bool,
        outcome: &mut Outcome,
    ) -> Result<(), StepError> {
        self.gaps.warn(outcome);
        self.warnings.iter().for_each(|warning| outcome.warn(warning));
        if !self.infos.is_empty() {
            outcome.detail("infos", &self.infos)?;
        }
        if nothing_due {
            return Ok(());
        }
        if !scoring && self.rows_with_values == 0 {
            return Err(StepError::refused("no query returned a value in the requested range")
                .hint("`lynceus source check PIPELINE` shows which queries have data, and how far back"));
        }
        outcome.count("windows_without_data", self.skipped_rows);
        // Missing queries and the beginning of the data are reported when both are known.
        let silent = self.columns.iter().zip(&self.answered).filter(|(_, answered)| !**answered);
        for (column, _) in silent.filter(|_| self.is_scoring) {
            outcome.warn(format!("query `{}` gave no series; its column is empty", column.name));
        }
        let single = self.columns.iter().filter(|column| column.labels.is_empty()).count();
        if self.by_entity && single > 0 {
            outcome.warn(format!(
                "{single} queries name no entity while others do; their values are in rows of their own"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
