//! Replies become rows: one per point in time and entity, one column per query.

use std::collections::{BTreeMap, BTreeSet};

use contract::{Outcome, StepError, Timestamp};
use document::sources::Entity;
use frames::samples::SampleRows;

use super::chunk::Chunk;
use super::column::{Column, Merged, shown};
use super::gaps::Gaps;
use super::reply::{LabelSet, Point, Series};
use crate::range::Grid;

/// Turns chunks into rows, in order of time.
///
/// Where no query names an entity, each point in time has a row, be it one of gaps alone: a minute
/// without data is something to tell. Where one does, an entity has a row at the times at which
/// some query has a value for it: pods come and go. Both hold however the time is cut into chunks.
#[derive(Debug)]
pub(crate) struct Assembler<'a> {
    columns: Vec<Column>,
    entity: &'a Entity,
    /// Label of the series whose value is the row's label.
    label: Option<&'a str>,
    /// The label set of each query's series, for the queries that name no entity.
    only: Vec<Option<LabelSet>>,
    /// Queries that gave some series.
    answered: Vec<bool>,
    by_entity: bool,
    /// A tick uses what it can; a training refuses a query that is ambiguous most of the time.
    is_scoring: bool,
    /// Says that a row with a value was seen; a training's range begins there.
    begun: bool,
    skipped_rows: usize,
    ignored_points: usize,
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
    /// Rows that had a value.
    rows_with_values: usize,
    pub(crate) gaps: Gaps,
}

/// All series that stand for one entity.
type EntitySeries = BTreeMap<String, Vec<Series>>;

/// Points of each query for one entity, in order of time.
type EntityPoints = Vec<std::vec::IntoIter<Point>>;

impl<'a> Assembler<'a> {
    /// Makes an assembler; for a scoring it keeps the rows before the first value.
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

    /// Makes the rows of a chunk; chunks come in order of time.
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
                let points = self.one_a_time(index, &entity, &grid, series)?;
                let of_entity = entities.entry(entity).or_insert_with(|| self.no_points());
                of_entity[index] = points.into_iter();
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
        vec![Vec::new().into_iter(); self.columns.len()]
    }

    /// Sorts a query's series by entity; without an entity label all of them stand for one.
    ///
    /// Series without the label are left out with a warning; where none has it, the query is wrong.
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

    /// Makes one list of points of the series that stand for an entity, in order of time.
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
        self.gaps.ambiguous(&column.name, entity, (&twice, grid.step), &error.message);
        Ok(points)
    }

    /// Warns of a query without an entity label that means another series than before.
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
        let mut rows =
            SampleRows { columns: vec![Vec::new(); self.columns.len()], ..SampleRows::default() };
        let mut values = vec![None; self.columns.len()];
        for time in (0..grid.points).map(|index| grid.time(index)) {
            for (entity, points) in &mut entities {
                for (value, points) in values.iter_mut().zip(points) {
                    let here = points.as_slice().first().is_some_and(|p| p.time_ms == time.ms());
                    *value = if here { points.next().map(|point| point.value) } else { None };
                }
                let some = values.iter().any(Option::is_some);
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

    /// Writes warnings; in a training, a source that had nothing to say is refused. In a
    /// scoring it is not: `score` reports a minute without data.
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
mod tests {
    use contract::Span;
    use proptest::prelude::*;

    use super::*;
    use crate::sources::prometheus::reply::Reply;

    fn column(name: &str, entity: Option<&str>) -> Column {
        Column { name: name.to_owned(), labels: entity.map(str::to_owned).into_iter().collect() }
    }

    fn assembler(columns: &[Column], keep_leading_gaps: bool) -> Assembler<'static> {
        static ENTITY: std::sync::LazyLock<Entity> = std::sync::LazyLock::new(Entity::default);
        Assembler::new(columns.to_vec(), &ENTITY, keep_leading_gaps)
    }

    fn grid(first: i64, points: usize) -> Grid {
        Grid { first: Timestamp::from_ms(first), points, step: Span::from_ms(10) }
    }

    fn reply(series: Vec<Series>) -> Reply {
        Reply { series, ..Reply::default() }
    }

    #[test]
    fn rows_are_in_order_of_time_and_then_of_entity_and_absent_points_are_gaps() {
        let queries = [column("a", Some("node")), column("b", Some("node"))];
        let mut assembler = assembler(&queries, false);
        let a = reply(vec![
            Series::new(&[("node", "y")], &[(0, 1.0), (10, 2.0)]),
            Series::new(&[("node", "x")], &[(10, 3.0), (15, 9.0), (30, 9.0)]),
        ]);
        let b = reply(vec![Series::new(&[("node", "x"), ("z", "")], &[(10, f64::INFINITY)])]);
        let rows = assembler.rows(Chunk::whole(grid(0, 3), vec![a, b])).unwrap();
        let times: Vec<i64> = rows.times.iter().map(|time| time.ms()).collect();
        assert_eq!(times, [0, 10, 10]);
        assert_eq!(rows.entities, ["y", "x", "y"]);
        assert_eq!(rows.columns[0], [Some(1.0), Some(3.0), Some(2.0)]);
        assert_eq!(rows.columns[1], [None, Some(f64::INFINITY), None]);
        assert_eq!(assembler.ignored_points, 2, "off the grid, and after its end");
    }

    #[test]
    fn without_entities_a_time_without_values_has_a_row_of_gaps_once_there_was_a_value() {
        let queries = [column("a", None)];
        for (keep, expected) in [(false, 2), (true, 3)] {
            let mut assembler = assembler(&queries, keep);
            let a = reply(vec![Series::new(&[], &[(10, 1.0)])]);
            let rows = assembler.rows(Chunk::whole(grid(0, 3), vec![a])).unwrap();
            assert_eq!(rows.times.len(), expected);
        }
    }

    #[test]
    fn the_label_of_a_row_is_that_of_the_first_query_that_has_one() {
        let queries = [column("a", Some("pod")), column("b", Some("pod"))];
        let mut made = assembler(&queries, false).with_label(Some("image"));
        let a = reply(vec![
            Series::new(&[("pod", "x")], &[(0, 1.0)]),
            Series::new(&[("pod", "y"), ("image", "nginx:1")], &[(0, 1.0), (10, 1.0)]),
        ]);
        let b = reply(vec![
            Series::new(&[("pod", "x"), ("image", "redis:7")], &[(0, 2.0)]),
            Series::new(&[("pod", "y"), ("image", "other")], &[(0, 2.0)]),
            Series::new(&[("pod", "z")], &[(0, 2.0)]),
        ]);
        let rows = made.rows(Chunk::whole(grid(0, 2), vec![a, b])).unwrap();
        assert_eq!(rows.entities, ["x", "y", "z", "y"]);
        assert_eq!(rows.labels, ["redis:7", "nginx:1", "", "nginx:1"]);
    }

    #[test]
    fn several_series_need_an_entity_label() {
        let queries = [column("a", None)];
        let series = |node| Series::new(&[("job", "k"), ("node", node)], &[(0, 1.0)]);
        let mut made = assembler(&queries, false);
        let chunk = Chunk::whole(grid(0, 1), vec![reply(vec![series("x"), series("y")])]);
        let error = made.rows(chunk).unwrap_err();
        assert!(error.message.contains(r#"`{job="k", node="x"}` and `{job="k", node="y"}`"#));
        assert!(error.hint.unwrap().contains("`entity: node`"));
    }

    #[test]
    fn a_series_that_changes_its_labels_is_one_column_with_a_warning() {
        let queries = [column("a", None)];
        let mut made = assembler(&queries, false);
        let mut values = Vec::new();
        for (first, node) in [(0, "x"), (10, "x"), (20, "y")] {
            let series = Series::new(&[("node", node)], &[(first, 1.0)]);
            let rows = made.rows(Chunk::whole(grid(first, 1), vec![reply(vec![series])]));
            values.extend(rows.unwrap().columns.remove(0));
        }
        assert_eq!(values, [Some(1.0); 3]);
        assert_eq!(made.warnings.len(), 1);
    }

    #[test]
    fn times_with_two_series_of_an_entity_are_gaps_of_that_entity_alone() {
        let queries = [column("a", Some("node"))];
        let replies = || {
            vec![reply(vec![
                Series::new(
                    &[("node", "x"), ("i", "1")],
                    &[(0, 1.0), (10, 2.0), (20, 3.0), (30, 4.0)],
                ),
                Series::new(&[("node", "x"), ("i", "2")], &[(20, 5.0), (30, 6.0), (40, 7.0)]),
                Series::new(&[("node", "y"), ("i", "3")], &[(20, 8.0)]),
            ])]
        };
        for scoring in [true, false] {
            let mut made = assembler(&queries, scoring);
            let rows = made.rows(Chunk::whole(grid(0, 5), replies())).unwrap();
            assert_eq!(rows.entities, ["x", "x", "y", "x"]);
            assert_eq!(rows.columns[0], [Some(1.0), Some(2.0), Some(8.0), Some(7.0)]);
            let gaps = made.gaps.take();
            assert_eq!(gaps.len(), 1);
            assert_eq!((gaps[0].first.ms(), gaps[0].last.ms()), (20, 30));
            assert_eq!(gaps[0].entity.as_deref(), Some("x"));
            assert!(gaps[0].reason.contains(r#"{i="1", node="x"}"#), "{}", gaps[0].reason);
        }
    }

    #[test]
    fn a_training_refuses_a_query_that_is_ambiguous_most_of_the_time() {
        let queries = [column("a", Some("node"))];
        let series = |i| Series::new(&[("node", "x"), ("i", i)], &[(0, 1.0)]);
        let chunk = || Chunk::whole(grid(0, 1), vec![reply(vec![series("1"), series("2")])]);
        let error = assembler(&queries, false).rows(chunk()).unwrap_err();
        assert!(error.hint.unwrap().contains("sum by (node)"));
        assert!(assembler(&queries, true).rows(chunk()).is_ok());
    }

    #[test]
    fn series_without_the_entity_label_are_left_out_and_refused_if_no_other_is_there() {
        let queries = [column("a", Some("node"))];
        let with = Series::new(&[("node", "x")], &[(0, 1.0)]);
        let without = Series::new(&[("cpu", "1")], &[(0, 2.0)]);
        let mut made = assembler(&queries, false);
        let replies = vec![reply(vec![with, without.clone()])];
        let rows = made.rows(Chunk::whole(grid(0, 1), replies)).unwrap();
        assert_eq!(rows.columns[0], [Some(1.0)]);
        assert!(made.warnings.first().unwrap().contains("without the entity label `node`"));
        let alone = Chunk::whole(grid(0, 1), vec![reply(vec![without])]);
        let error = assembler(&queries, false).rows(alone).unwrap_err();
        assert!(error.hint.unwrap().contains("sum by (node)"));
    }

    #[test]
    fn two_values_at_one_time_are_refused() {
        let queries = [column("a", None)];
        let replies = vec![reply(vec![Series::new(&[], &[(0, 1.0), (0, 2.0)])])];
        assembler(&queries, false).rows(Chunk::whole(grid(0, 1), replies)).unwrap_err();
    }

    proptest! {
        #[test]
        fn rows_do_not_depend_on_how_time_is_cut(
            present in proptest::collection::vec(any::<[bool; 4]>(), 1..40), cut in 1_usize..40,
            by_entity: bool,
        ) {
            let label = by_entity.then_some("node");
            let queries = [column("a", label), column("b", label)];
            let rows_of = |size: usize| {
                let mut assembler = assembler(&queries, false);
                let mut all = (Vec::new(), Vec::new(), vec![Vec::new(); 2]);
                for from in (0..present.len()).step_by(size) {
                    let to = (from + size).min(present.len());
                    let series = |which: usize, name: &str| {
                        let points: Vec<(i64, f64)> = (from..to)
                            .filter(|i| present[*i][which])
                            .map(|i| (10 * i64::try_from(i).unwrap(), i as f64))
                            .collect();
                        Series::new(&[("node", name)], &points)
                    };
                    let mut replies = vec![
                        reply(vec![series(0, "x")]), reply(vec![series(1, "x")]),
                    ];
                    if by_entity {
                        replies[0].series.push(series(2, "y"));
                        replies[1].series.push(series(3, "y"));
                    }
                    let first = 10 * i64::try_from(from).unwrap();
                    let rows =
                        assembler.rows(Chunk::whole(grid(first, to - from), replies)).unwrap();
                    all.0.extend(rows.times);
                    all.1.extend(rows.entities);
                    all.2.iter_mut().zip(rows.columns).for_each(|(all, c)| all.extend(c));
                }
                all
            };
            prop_assert_eq!(rows_of(cut), rows_of(present.len()));
        }
    }
}
