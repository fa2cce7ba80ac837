//! Class probabilities of the rows of a table, on several threads.

use std::collections::BTreeMap;

use contract::Timestamp;
use contract::classify::{EntityClass, Unknown};
use contract::score::{Cause, EntityScore, Verdict};
use frames::FeatureTable;

use super::evidence::Rules;
use super::{ClassBundle, EntityEvidence};

/// Result of a single row.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedRow {
    /// Share of the features with a value, 0 to 1.
    pub completeness: f64,
    /// Probability of each class.
    pub probabilities: Vec<f64>,
    /// Distance from each class.
    pub distances: Vec<f64>,
}

impl ClassBundle {
    /// Computes every row; the result does not depend on the number of threads.
    pub fn judge(&self, table: &FeatureTable, threads: usize) -> Vec<JudgedRow> {
        let distances = self.profiles().measure();
        let columns = &table.table.columns;
        let judged = |row: usize| {
            let values: Vec<f64> = columns.iter().map(|column| column.values[row]).collect();
            let present = values.iter().filter(|value| value.is_finite()).count();
            JudgedRow {
                completeness: present as f64 / values.len().max(1) as f64,
                probabilities: self.model().probabilities(&values),
                distances: distances.of(&values),
            }
        };
        let rows = table.rows();
        let share = rows.div_ceil(threads.max(1)).max(1);
        let judged = &judged;
        std::thread::scope(|scope| {
            let starts = (0..rows).step_by(share);
            let running: Vec<_> = starts
                .map(|start| {
                    let end = (start + share).min(rows);
                    scope.spawn(move || (start..end).map(judged).collect::<Vec<_>>())
                })
                .collect();
            let parts = running.into_iter();
            let ended =
                parts.map(|part| part.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
            ended.flatten().collect()
        })
    }

    /// Scores the rows of a table, each as the last of the rows of its entity until then, in the
    /// order of their times and without earlier evidence. The label of a row is what its entity
    /// declares. Returns a score for each row, in the order of the table; a row with less than
    /// `min_completeness` of the features (0 to 1) has no data and adds no evidence.
    pub fn score(&self, table: &FeatureTable, min_completeness: f64) -> Vec<EntityScore> {
        let judged = self.judge(table, 1);
        let mut seen: BTreeMap<u32, EntityEvidence> = BTreeMap::new();
        let mut order: Vec<usize> = (0..table.rows()).collect();
        order.sort_by_key(|row| table.table.times[*row]);
        let mut scores = Vec::with_capacity(order.len());
        for row in order {
            let (time, judged) = (table.table.times[row], &judged[row]);
            let declared = table.labels.as_ref().map_or("", |labels| labels.label[row].as_str());
            let entity = table.table.entity[row];
            let mut evidence = self.evidence(seen.remove(&entity), time, declared);
            let mut verdict = Verdict::NoData;
            if judged.completeness >= min_completeness {
                self.observe(&mut evidence, time, judged);
                verdict = Verdict::Normal;
            }
            let class = self.class_of(&evidence);
            seen.insert(entity, evidence);
            let score = EntityScore {
                completeness: judged.completeness,
                causes: self.mismatch_causes(&class, table, row),
                class: Some(class),
                ..EntityScore::bare(table.table.entity_of(row).to_owned(), verdict)
            };
            scores.push((row, score));
        }
        scores.sort_by_key(|(row, _)| *row);
        scores.into_iter().map(|(_, score)| score).collect()
    }

    /// Returns the evidence to which a row of an entity is added: the evidence so far, or new
    /// evidence. If the declared text differs, this is another entity with the same name.
    pub fn evidence(
        &self,
        before: Option<EntityEvidence>,
        time: Timestamp,
        declared: &str,
    ) -> EntityEvidence {
        let is_same = |it: &EntityEvidence| declared.is_empty() || it.declared == declared;
        let classes = self.classify().classes.len();
        before.filter(is_same).unwrap_or_else(|| EntityEvidence::new(classes, time, declared))
    }

    /// Adds a row to the evidence of its entity; returns whether the class changed.
    pub fn observe(
        &self,
        evidence: &mut EntityEvidence,
        time: Timestamp,
        judged: &JudgedRow,
    ) -> bool {
        let rules = Rules { rule: &self.classify().evidence, bounds: &self.classify().bounds };
        evidence.observe(time, &judged.probabilities, &judged.distances, rules)
    }

    /// Returns the class of an entity from its evidence. No allow list is applied to a mismatch.
    pub fn class_of(&self, evidence: &EntityEvidence) -> EntityClass {
        let bounds = &self.classify().bounds;
        let nearest = evidence.nearest(bounds);
        let probabilities = evidence.probabilities(bounds);
        let probability = evidence.class.map_or(nearest.probability, |class| {
            probabilities.get(class as usize).copied().unwrap_or(nearest.probability)
        });
        let mut said = EntityClass {
            class: evidence.class.map(|class| self.class_name(Some(class)).to_owned()),
            unknown: evidence.unknown,
            nearest: self.class_name(u32::try_from(nearest.class).ok()).to_owned(),
            probability,
            declared: self.declared(&evidence.declared),
            since: evidence.since,
            first_seen: evidence.first_seen,
            windows: evidence.windows,
            mismatch: false,
        };
        let speaks = said.class.is_some() || said.unknown == Some(Unknown::Unlike);
        said.mismatch = speaks && said.declared.as_deref().is_some_and(|it| it != said.name());
        said
    }

    /// Returns the features by which a row differs most from the class that it declares; none without
    /// a mismatch.
    pub fn mismatch_causes(
        &self,
        class: &EntityClass,
        table: &FeatureTable,
        row: usize,
    ) -> Vec<Cause> {
        let Some(declared) = class.declared.as_deref().filter(|_| class.mismatch) else {
            return Vec::new();
        };
        let values = table.table.columns.iter().map(|column| column.values[row]);
        self.profiles().causes(self.contract(), declared, &values.collect::<Vec<f64>>())
    }
}
