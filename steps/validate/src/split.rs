//! The rows in order of time: train, validation, test, with a gap between.

use std::collections::BTreeSet;

use contract::validation::PartSummary;
use contract::{Span, StepError, Timestamp, artifact, least};
use document::document::SplitBy;
use document::sections::Validate as Sections;
use frames::{FeatureTable, is_normal};

/// Minimum number of rows that a model is fitted on.
const MIN_TRAIN_ROWS: usize = least::TRAIN_ROWS;
/// Minimum number of rows for the calibration of scores.
const MIN_VALIDATION_ROWS: usize = least::CALIBRATION_ROWS;

/// Labels that a hint names.
const NAMED_LABELS: usize = 8;

/// A part of the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Train,
    Validation,
    Test,
}

impl Part {
    /// The parts, in order of time.
    pub(crate) const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// The rows of each part, in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    rows: [Vec<usize>; 3],
    /// Rows in the gaps between the parts.
    pub(crate) gap_rows: usize,
    /// Rows of the train part before these rows were removed, if there are labels.
    pub(crate) labelled: Option<Vec<usize>>,
    /// Rows of the train part that were left out because they are not normal, or not known to be
    /// normal.
    pub(crate) left_out_rows: usize,
}

/// Splits the rows of a table.
///
/// The document's shares are shares of the distinct times, so that all entities of a time are in
/// one part. The gap is taken from the beginning of the later part. If there are labels, anomalous
/// and excluded rows are removed from the train part; the other parts keep them.
pub(crate) fn split(table: &FeatureTable, document: &Sections) -> Parts {
    if document.split.by == SplitBy::Entity {
        return split_by_entity(table, document);
    }
    let times = &table.table.times;
    let mut distinct: Vec<Timestamp> = Vec::new();
    for row in in_order(times) {
        if distinct.last() != Some(&times[row]) {
            distinct.push(times[row]);
        }
    }
    let shares = &document.split;
    let train_end = place(distinct.len(), 1.0 - shares.validation - shares.test);
    let validation_end = place(distinct.len(), 1.0 - shares.test).max(train_end);
    let bounds = [0..train_end, train_end..validation_end, validation_end..distinct.len()];
    let mut parts =
        Parts { rows: [const { Vec::new() }; 3], gap_rows: 0, labelled: None, left_out_rows: 0 };
    let mut last: Option<Timestamp> = None;
    let mut rows = in_order(times).peekable();
    for (part, bounds) in bounds.into_iter().enumerate() {
        let mut end = last;
        for time in &distinct[bounds] {
            let clear = last.is_none_or(|last| *time - last > shares.gap);
            while let Some(row) = rows.next_if(|row| times[*row] == *time) {
                if clear {
                    parts.rows[part].push(row);
                    end = Some(*time);
                } else {
                    parts.gap_rows += 1;
                }
            }
        }
        last = end;
    }
    parts.leave_out_of_train(table, &document.labels.normal);
    parts
}

/// Returns the rows in order of time; a list is created only if they are not already in this order.
fn in_order(times: &[Timestamp]) -> Box<dyn Iterator<Item = usize>> {
    if times.is_sorted() {
        return Box::new(0..times.len());
    }
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|row| times[*row]);
    Box::new(order.into_iter())
}

/// Splits by entity: each is in one part with all its rows, in order of time. The part depends only
/// on its name, the seed and the other entities.
fn split_by_entity(table: &FeatureTable, document: &Sections) -> Parts {
    let entities = &table.table.entities;
    let mut order: Vec<usize> = (0..entities.len()).collect();
    let drawn = |entity: &usize| {
        artifact::sha256(format!("{}/{}", document.split.seed, entities[*entity]).as_bytes())
    };
    order.sort_by_cached_key(drawn);
    let shares = &document.split;
    let count = |share: f64| place(order.len(), share);
    // With few entities, each requested part has at least one entity.
    let least = |share: f64| count(share).max(usize::from(share > 0.0));
    let test = least(shares.test).min(order.len());
    let validation = least(shares.validation).min(order.len() - test);
    let mut part_of = vec![Part::Train; entities.len()];
    for (place, entity) in order.into_iter().enumerate() {
        if place < test {
            part_of[entity] = Part::Test;
        } else if place < test + validation {
            part_of[entity] = Part::Validation;
        }
    }
    let mut parts =
        Parts { rows: [const { Vec::new() }; 3], gap_rows: 0, labelled: None, left_out_rows: 0 };
    for row in in_order(&table.table.times) {
        let part = part_of[table.table.entity[row] as usize];
        parts.rows[part as usize].push(row);
    }
    parts.leave_out_of_train(table, &document.labels.normal);
    parts
}

/// Puts every row into the train part: `task: classify` splits by entity, and repeatedly, while it
/// is trained.
pub(crate) fn whole(table: &FeatureTable) -> Parts {
    let rows = [in_order(&table.table.times).collect(), Vec::new(), Vec::new()];
    Parts { rows, gap_rows: 0, labelled: None, left_out_rows: 0 }
}

/// Returns a share of `number` items, rounded to the nearest whole number.
fn place(number: usize, share: f64) -> usize {
    let place = (share.clamp(0.0, 1.0) * number as f64).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the number of items"
    )]
    let place = place as usize;
    place.min(number)
}

impl Parts {
    /// Returns the rows of a part.
    pub(crate) fn rows(&self, part: Part) -> &[usize] {
        &self.rows[part as usize]
    }

    fn leave_out_of_train(&mut self, table: &FeatureTable, normal: &[String]) {
        let Some(labels) = &table.labels else { return };
        let train = &mut self.rows[Part::Train as usize];
        let before = train.len();
        self.labelled = Some(train.clone());
        train.retain(|row| !labels.excluded[*row] && is_normal(normal, &labels.label[*row]));
        self.left_out_rows = before - train.len();
    }

    /// Returns the extent of each part.
    pub(crate) fn summaries(&self, table: &FeatureTable) -> Vec<PartSummary> {
        let time = |row: Option<&usize>| row.map(|row| table.table.times[*row]);
        let summary = |part: Part| {
            let rows = self.rows(part);
            PartSummary {
                part: part.name().to_owned(),
                rows: rows.len() as u64,
                first: time(rows.first()),
                last: time(rows.last()),
            }
        };
        Part::ALL.map(summary).to_vec()
    }

    /// Returns a hint for more normal rows in the train part: if none of its labels means normal,
    /// the setting `labels.normal`.
    fn normal_hint(&self, table: &FeatureTable, normal: &[String]) -> String {
        let rows = self.labelled.iter().flatten();
        let labels: BTreeSet<&str> =
            rows.filter_map(|row| Some(table.labels.as_ref()?.label[*row].as_str())).collect();
        if labels.is_empty() || labels.iter().any(|label| is_normal(normal, label)) {
            return "collect a range that begins with more normal time".to_owned();
        }
        let named: Vec<String> =
            labels.iter().take(NAMED_LABELS).map(|label| format!("`{label}`")).collect();
        let more = labels.len().saturating_sub(NAMED_LABELS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(
            "none of its labels means normal: name those that do in `labels.normal` (now {}); there are {}{more}",
            normal.join(", "),
            named.join(", ")
        )
    }

    /// Refuses parts that are too small to train or calibrate on.
    pub(crate) fn check(&self, table: &FeatureTable, document: &Sections) -> Result<(), StepError> {
        let train = self.rows(Part::Train).len();
        let few = [
            (Part::Train, train, MIN_TRAIN_ROWS),
            (Part::Validation, self.rows(Part::Validation).len(), MIN_VALIDATION_ROWS),
        ];
        let is_needed = |part: Part| part == Part::Train || document.classification().is_none();
        let mut few = few.into_iter().filter(|(part, _, _)| is_needed(*part));
        let Some((part, rows, least)) = few.find(|(_, rows, least)| rows < least) else {
            return Ok(());
        };
        let part_name = part.name();
        if part == Part::Train && train + self.left_out_rows >= MIN_TRAIN_ROWS {
            return Err(StepError::refused(format!(
                "the train part has {train} normal rows, at least {least} are needed: {} are of scenarios or guard bands",
                self.left_out_rows
            ))
            .hint(self.normal_hint(table, &document.labels.normal)));
        }
        let range = document.least.range(table.table.entities.len());
        Err(StepError::refused(format!(
            "the {part_name} part has {rows} rows, at least {least} are needed"
        ))
        .hint(size_hint(part, range)))
    }
}

fn size_hint(part: Part, range: Span) -> String {
    match part {
        Part::Train => format!(
            "set `range` to at least `{range}`, or make `split.gap`, `split.validation` and `split.test` smaller"
        ),
        Part::Validation | Part::Test => format!(
            "set `range` to at least `{range}`, or make `split.validation` larger or `split.gap` smaller"
        ),
    }
}

#[cfg(test)]
mod tests {
    use contract::FeatureContract;
    use frames::{RowLabels, Table};
    use proptest::prelude::*;

    use super::*;

    const STEP_MS: i64 = 60_000;

    fn document(validation: f64, test: f64, gap_ms: i64) -> Sections {
        let text = format!(
            "format: 1\nname: x\nstep: 1m\nrange: 1d\nsources: {{main: {{table: {{path: t, time: t}}}}}}\n\
             features: [{{raw: {{}}}}]\nsplit: {{validation: {validation}, test: {test}, \
             gap: {gap_ms}ms}}\nmodels: {{z_score: {{}}}}\n\
             vote: {{combine: mean, threshold: {{quantile: {{share: 0.99}}}}}}\n"
        );
        document::parse("split.yaml", &text).unwrap().into()
    }

    /// Makes rows, each with an entity and a time in steps, without columns.
    fn table(rows: &[(u32, i64)], anomalous: Option<&[bool]>) -> FeatureTable {
        let contract = FeatureContract {
            format: 1,
            step: Span::from_ms(STEP_MS),
            lookback: Span::ZERO,
            fill: "none".into(),
            columns: Vec::new(),
        };
        let table = Table {
            times: rows.iter().map(|(_, step)| Timestamp::from_ms(step * STEP_MS)).collect(),
            entity: rows.iter().map(|(entity, _)| *entity).collect(),
            entities: vec!["a".into(), "b".into(), "c".into()],
            columns: Vec::new(),
        };
        let label = |anomalous: &bool| if *anomalous { "stress" } else { "normal" }.to_owned();
        let labels = anomalous.map(|anomalous| RowLabels {
            label: anomalous.iter().map(label).collect(),
            scenario: vec![String::new(); rows.len()],
            excluded: vec![false; rows.len()],
        });
        FeatureTable { contract, table, warm_up: vec![false; rows.len()], labels }
    }

    proptest! {
        #[test]
        fn parts_are_in_order_apart_and_lose_nothing_but_the_gap(
            rows in prop::collection::vec((0..3_u32, 0..200_i64), 0..150),
            validation in 0.05..0.5_f64,
            test in 0.0..0.4_f64,
            gap_steps in 0..12_i64,
        ) {
            let document = document(validation, test, gap_steps * STEP_MS);
            let table = table(&rows, None);
            let parts = split(&table, &document);
            let all: usize = Part::ALL.iter().map(|part| parts.rows(*part).len()).sum();
            prop_assert_eq!(all + parts.gap_rows, rows.len(), "nothing is lost");
            let times = |part: Part| -> Vec<Timestamp> {
                parts.rows(part).iter().map(|row| table.table.times[*row]).collect()
            };
            let mut last: Option<Timestamp> = None;
            for part in Part::ALL {
                let times = times(part);
                prop_assert!(times.is_sorted());
                if let (Some(last), Some(first)) = (last, times.first()) {
                    prop_assert!(*first - last > document.split.gap, "{} after {}", first, last);
                }
                last = times.last().copied().or(last);
            }
            if gap_steps == 0 {
                prop_assert_eq!(parts.gap_rows, 0, "without a gap every row is in a part");
            }
        }

        #[test]
        fn only_train_loses_anomalous_rows(
            rows in prop::collection::vec((0..3_u32, 0..200_i64, any::<bool>()), 1..150),
        ) {
            let (keys, anomalous): (Vec<_>, Vec<_>) =
                rows.iter().map(|(entity, step, anomalous)| ((*entity, *step), *anomalous)).unzip();
            let document = document(0.3, 0.2, 0);
            let labelled = split(&table(&keys, Some(&anomalous)), &document);
            let plain = split(&table(&keys, None), &document);
            let normal: Vec<usize> =
                plain.rows(Part::Train).iter().filter(|row| !anomalous[**row]).copied().collect();
            prop_assert_eq!(labelled.rows(Part::Train), &normal);
            let all = plain.rows(Part::Train).to_vec();
            prop_assert_eq!(labelled.labelled.as_ref(), Some(&all), "what learns from labels has all");
            prop_assert!(plain.labelled.is_none());
            prop_assert_eq!(labelled.left_out_rows, plain.rows(Part::Train).len() - normal.len());
            for part in [Part::Validation, Part::Test] {
                prop_assert_eq!(labelled.rows(part), plain.rows(part));
            }
        }
    }

    #[test]
    fn split_by_entity_keeps_each_entity_in_one_part_for_any_row_order() {
        let rows: Vec<(u32, i64)> = (0..300_u32).map(|row| (row % 3, i64::from(row))).collect();
        let by_entity = |seed: u64| {
            let mut document = document(0.3, 0.3, 0);
            (document.split.by, document.split.seed) = (SplitBy::Entity, seed);
            document
        };
        let parts = split(&table(&rows, None), &by_entity(0));
        let entities = |parts: &Parts, part: Part| {
            let of = parts.rows(part).iter().map(|row| rows[*row].0);
            of.collect::<BTreeSet<u32>>()
        };
        let all: Vec<u32> = Part::ALL.iter().flat_map(|part| entities(&parts, *part)).collect();
        assert_eq!(all.len(), 3, "no entity is in two parts: {all:?}");
        assert_eq!(Part::ALL.map(|part| parts.rows(part).len()), [100, 100, 100]);
        assert_eq!(parts, split(&table(&rows, None), &by_entity(0)));
        let drawn: BTreeSet<Vec<u32>> = (0..20)
            .map(|seed| {
                let parts = split(&table(&rows, None), &by_entity(seed));
                entities(&parts, Part::Test).into_iter().collect()
            })
            .collect();
        assert_eq!(drawn.len(), 3, "the seed draws");
    }

    #[test]
    fn shares_are_of_the_distinct_times() {
        // One entity has ten times as many rows as times: they stay together.
        let rows: Vec<(u32, i64)> = (0..100).map(|row| (0, row / 10)).collect();
        let parts = split(&table(&rows, None), &document(0.2, 0.2, 0));
        assert_eq!(Part::ALL.map(|part| parts.rows(part).len()), [60, 20, 20]);
    }
}
