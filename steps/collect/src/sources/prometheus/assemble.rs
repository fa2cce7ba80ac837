//! Replies become rows: one per point in time and entity, one column per query.

use std::collections::{BTreeMap, BTreeSet};

use contract::{Outcome, StepError, Timestamp};
use document::sources::{Entity, Query};
use frames::samples::SampleRows;

use super::reply::{self, LabelSet, Point, Reply, Series};
use crate::range::Grid;

/// A query as the rows see it.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Labels that may name the entity, first choice first; without any there is one series.
    pub(crate) labels: Vec<String>,
}

impl Column {
    /// Makes the column of a query; `entity` has the labels of the queries that name none.
    pub(crate) fn new(query: &Query, entity: &Entity) -> Self {
        Self { name: query.name.clone(), labels: query.labels(entity).to_vec() }
    }
}

/// The replies to all queries for one chunk of time.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) grid: Grid,
    /// One reply a query, in the document's order.
    pub(crate) replies: Vec<Reply>,
}

/// Turns chunks into rows, in order of time.
///
/// Where no query names an entity, each point in time has a row, be it one of gaps alone: a minute
/// without data is something to tell. Where one does, an entity has a row at the times at which
/// some query has a value for it: pods come and go. Both hold however the time is cut into chunks.
#[derive(Debug)]
pub(crate) struct Assembler<'a> {
    columns: Vec<Column>,
    entity: &'a Entity,
    /// The label set of each query's series, for the queries that name no entity.
    only: Vec<Option<LabelSet>>,
    /// Queries that gave some series.
    answered: Vec<bool>,
    by_entity: bool,
    /// Says that a row with a value was seen; a training's range begins there.
    begun: bool,
    skipped_rows: usize,
    ignored_points: usize,
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
    has_values: bool,
}

/// Points of each query for one entity, in order of time.
type EntityPoints = Vec<std::vec::IntoIter<Point>>;

impl<'a> Assembler<'a> {
    /// Makes an assembler; `keep_leading_gaps` keeps the rows before the first value.
    pub(crate) fn new(columns: Vec<Column>, entity: &'a Entity, keep_leading_gaps: bool) -> Self {
        Self {
            only: vec![None; columns.len()],
            answered: vec![false; columns.len()],
            by_entity: columns.iter().any(|column| !column.labels.is_empty()),
            columns,
            entity,
            begun: keep_leading_gaps,
            skipped_rows: 0,
            ignored_points: 0,
            warnings: BTreeSet::new(),
            infos: BTreeSet::new(),
            has_values: false,
        }
    }

    /// Makes the rows of a chunk; chunks come in order of time.
    pub(crate) fn rows(&mut self, chunk: Chunk) -> Result<SampleRows, StepError> {
        let Chunk { grid, replies } = chunk;
        let mut entities: BTreeMap<String, EntityPoints> = BTreeMap::new();
        if !self.by_entity {
            entities.insert(String::new(), self.no_points());
        }
        for (index, reply) in replies.into_iter().enumerate() {
            let named = |text: &String| format!("query `{}`: {text}", self.columns[index].name);
            self.warnings.extend(reply.warnings.iter().map(named));
            self.infos.extend(reply.infos.iter().map(named));
            self.answered[index] |= !reply.series.is_empty();
            self.check_single(index, &reply.series)?;
            let mut labels_by_entity: BTreeMap<String, LabelSet> = BTreeMap::new();
            for series in reply.series {
                let name = self.entity_of(index, &series)?;
                if let Some(other) = labels_by_entity.get(&name) {
                    return Err(self.twice(index, &name, other, &series.labels));
                }
                let points = self.on_grid(index, &grid, series.points)?;
                labels_by_entity.insert(name.clone(), series.labels);
                let of_entity = entities.entry(name).or_insert_with(|| self.no_points());
                of_entity[index] = points.into_iter();
            }
        }
        let rows = self.merge(&grid, entities);
        self.has_values |= rows.columns.iter().flatten().any(Option::is_some);
        Ok(rows)
    }

    fn no_points(&self) -> EntityPoints {
        vec![Vec::new().into_iter(); self.columns.len()]
    }

    /// Checks that a query without an entity label means one and the same series all the time.
    fn check_single(&mut self, index: usize, series: &[Series]) -> Result<(), StepError> {
        if !self.columns[index].labels.is_empty() {
            return Ok(());
        }
        let mut sets = self.only[index].iter().chain(series.iter().map(|series| &series.labels));
        let first = sets.next().cloned();
        if let (Some(first), Some(other)) = (&first, sets.find(|set| Some(*set) != first.as_ref()))
        {
            let name = &self.columns[index].name;
            let differing = first.iter().chain(other).find(|(k, _)| first.get(*k) != other.get(*k));
            let label = differing.map_or("instance", |(label, _)| label.as_str());
            return Err(StepError::refused(format!(
                "query `{name}` gave several series, such as `{}` and `{}`",
                shown(first),
                shown(other)
            ))
            .hint(format!(
                "aggregate them, as in sum(...), or tell them apart with `entity: {label}`"
            )));
        }
        if series.len() > 1 {
            let name = &self.columns[index].name;
            return Err(StepError::refused(format!(
                "query `{name}` gave the series `{}` twice",
                shown(&series[0].labels)
            )));
        }
        self.only[index] = first;
        Ok(())
    }

    fn entity_of(&self, index: usize, series: &Series) -> Result<String, StepError> {
        let Column { name, labels } = &self.columns[index];
        let Some(first) = labels.first() else { return Ok(String::new()) };
        let found = labels.iter().find_map(|label| series.labels.get(label));
        found.map(|entity| self.entity.rename(entity).to_owned()).ok_or_else(|| {
            let or = labels.join("` or `");
            StepError::refused(format!(
                "query `{name}` gave the series `{}` without the entity label `{or}`",
                shown(&series.labels)
            ))
            .hint(format!("keep the label, as in sum by ({first}) (...)"))
        })
    }

    fn twice(&self, index: usize, entity: &str, one: &LabelSet, other: &LabelSet) -> StepError {
        let Column { name, labels } = &self.columns[index];
        let label = labels.first().map_or("", String::as_str);
        StepError::refused(format!(
            "query `{name}` gave several series for the entity `{entity}`: `{}` and `{}`",
            shown(one),
            shown(other)
        ))
        .hint(format!("aggregate them, as in sum by ({label}) (...)"))
    }

    /// Keeps the points that were asked for, in order of time.
    fn on_grid(
        &mut self,
        index: usize,
        grid: &Grid,
        mut points: Vec<Point>,
    ) -> Result<Vec<Point>, StepError> {
        let all = points.len();
        points.retain(|point| grid.contains(Timestamp::from_ms(point.time_ms)));
        self.ignored_points += all - points.len();
        if !points.is_sorted_by_key(|point| point.time_ms) {
            points.sort_by_key(|point| point.time_ms);
        }
        match points.windows(2).find(|pair| pair[0].time_ms == pair[1].time_ms) {
            None => Ok(points),
            Some(pair) => Err(StepError::refused(format!(
                "query `{}` gave two values, `{}` and `{}`, at `{}`",
                self.columns[index].name,
                pair[0].value,
                pair[1].value,
                Timestamp::from_ms(pair[0].time_ms)
            ))),
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

    /// Returns the number of points that nobody asked for.
    pub(crate) fn ignored_points(&self) -> usize {
        self.ignored_points
    }

    /// Writes warnings; in a training, a source that had nothing to say is refused. In a
    /// scoring it is not: a minute without data has to be told, and `score` does that.
    pub(crate) fn finish(
        &self,
        scoring: bool,
        nothing_due: bool,
        outcome: &mut Outcome,
    ) -> Result<(), StepError> {
        self.warnings.iter().for_each(|warning| outcome.warn(warning));
        if !self.infos.is_empty() {
            outcome.detail("infos", &self.infos)?;
        }
        if nothing_due {
            return Ok(());
        }
        if !scoring && !self.has_values {
            return Err(StepError::refused("no query gave a single value in the range asked for")
                .hint("does the source reach back that far, and are its series named as in the queries?"));
        }
        if self.skipped_rows > 0 {
            outcome.warn(format!(
                "the source has nothing for the first {} windows of the range; they are left out",
                self.skipped_rows
            ));
        }
        let silent = self.columns.iter().zip(&self.answered).filter(|(_, answered)| !**answered);
        for (column, _) in silent {
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

fn shown(labels: &LabelSet) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    reply::one_line(&format!("{{{}}}", pairs.join(", ")))
}

#[cfg(test)]
mod tests {
    use contract::Span;
    use proptest::prelude::*;

    use super::*;

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
        let rows = assembler.rows(Chunk { grid: grid(0, 3), replies: vec![a, b] }).unwrap();
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
            let rows = assembler.rows(Chunk { grid: grid(0, 3), replies: vec![a] }).unwrap();
            assert_eq!(rows.times.len(), expected);
        }
    }

    #[test]
    fn several_series_need_an_entity_label() {
        let queries = [column("a", None)];
        let series = |node| Series::new(&[("job", "k"), ("node", node)], &[(0, 1.0)]);
        let mut assembler = assembler(&queries, false);
        let chunk =
            Chunk { grid: grid(0, 1), replies: vec![reply(vec![series("x"), series("y")])] };
        let error = assembler.rows(chunk).unwrap_err();
        assert!(error.message.contains(r#"`{job="k", node="x"}` and `{job="k", node="y"}`"#));
        assert!(error.hint.unwrap().contains("`entity: node`"));
    }

    #[test]
    fn a_series_that_changes_its_labels_between_chunks_is_several_series() {
        let queries = [column("a", None)];
        let mut assembler = assembler(&queries, false);
        for (first, node, good) in [(0, "x", true), (10, "x", true), (20, "y", false)] {
            let series = Series::new(&[("node", node)], &[(first, 1.0)]);
            let chunk = Chunk { grid: grid(first, 1), replies: vec![reply(vec![series])] };
            assert_eq!(assembler.rows(chunk).is_ok(), good);
        }
    }

    #[test]
    fn a_series_without_the_entity_label_or_a_second_one_for_an_entity_is_refused() {
        let queries = [column("a", Some("node"))];
        let one = Series::new(&[("node", "x"), ("cpu", "0")], &[]);
        for other in [Series::new(&[("cpu", "1")], &[]), Series::new(&[("node", "x")], &[])] {
            let mut assembler = assembler(&queries, false);
            let replies = vec![reply(vec![one.clone(), other])];
            let error = assembler.rows(Chunk { grid: grid(0, 1), replies }).unwrap_err();
            assert!(error.hint.unwrap().contains("sum by (node)"));
        }
    }

    #[test]
    fn two_values_at_one_time_are_refused() {
        let queries = [column("a", None)];
        let replies = vec![reply(vec![Series::new(&[], &[(0, 1.0), (0, 2.0)])])];
        assembler(&queries, false).rows(Chunk { grid: grid(0, 1), replies }).unwrap_err();
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
                        assembler.rows(Chunk { grid: grid(first, to - from), replies }).unwrap();
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
