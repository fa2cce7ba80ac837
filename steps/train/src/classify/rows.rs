//! The rows of a data set by entity and class, and which of them a repetition is fitted on.

use std::collections::BTreeMap;

use contract::classify::declared_class;
use contract::{Outcome, StepError};
use detectors::fit::rows::shuffle;
use document::classify::{Classify, is_identifier};
use frames::FeatureTable;
use linfa::dataset::DatasetBase;
use models::matrix;
use ndarray::{Array1, Array2, Axis};
use rand_chacha::ChaCha8Rng;

/// Maximum number of rows that a repetition is fitted on: rows of an entity are alike, and more of
/// them do not improve the metrics.
const EVALUATION_ROWS: usize = 4000;
/// Maximum number of windows that are predicted in all repetitions together.
const EVALUATION_WINDOWS: usize = 40_000;
/// Minimum and maximum number of windows of an entity that are predicted.
const WINDOWS: [usize; 2] = [12, 120];

/// An entity of one class, and its rows in the order of time.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) class: usize,
    pub(crate) rows: Vec<usize>,
}

/// Rows with their classes and entities.
#[derive(Debug)]
pub(crate) struct ClassRows {
    pub(crate) features: Vec<String>,
    pub(crate) values: Array2<f64>,
    /// The classes, in the order of their names.
    pub(crate) classes: Vec<String>,
    /// Index of each row's class.
    pub(crate) class: Vec<usize>,
    /// Entities, in the order of their names and classes.
    pub(crate) units: Vec<Unit>,
    /// Maximum number of rows of an entity that a model is fitted on.
    most_rows: usize,
}

impl ClassRows {
    /// Takes the rows that declare a class.
    ///
    /// Errors: refused if a feature identifies an entity, if no row declares a class, and for fewer
    /// than two classes.
    pub(crate) fn of(
        table: &FeatureTable,
        classify: &Classify,
        outcome: &mut Outcome,
    ) -> Result<Self, StepError> {
        refuse_identifiers(table)?;
        let hint = "set `label` of the table or the query with the class of an entity, and \
                    `classify.classes`";
        let labels = table
            .labels
            .as_ref()
            .ok_or_else(|| StepError::refused("the features declare no class").hint(hint))?;
        let rules = &classify.classes;
        let mut known: BTreeMap<&str, Option<String>> = BTreeMap::new();
        let mut by_unit: BTreeMap<(&str, String), Vec<usize>> = BTreeMap::new();
        for row in (0..table.rows()).filter(|row| !labels.excluded[*row]) {
            let text = labels.label[row].as_str();
            let class = known.entry(text).or_insert_with(|| declared_class(rules, text));
            if let Some(class) = class {
                by_unit.entry((table.table.entity_of(row), class.clone())).or_default().push(row);
            }
        }
        let mut classes: Vec<String> = by_unit.keys().map(|(_, class)| class.clone()).collect();
        classes.sort();
        classes.dedup();
        warn_of_classes(&classes, classify, &known, outcome);
        if classes.len() < 2 {
            let found = known.keys().take(5).copied().collect::<Vec<_>>().join("`, `");
            return Err(StepError::refused(format!(
                "{} classes are declared, at least 2 are needed; declared are `{found}`",
                classes.len()
            ))
            .hint(hint));
        }
        Ok(Self::build(table, classes, by_unit, classify))
    }

    fn build(
        table: &FeatureTable,
        classes: Vec<String>,
        by_unit: BTreeMap<(&str, String), Vec<usize>>,
        classify: &Classify,
    ) -> Self {
        let (mut kept, mut class, mut units) = (Vec::new(), Vec::new(), Vec::new());
        for ((_, name), mut rows) in by_unit {
            let index = classes.binary_search(&name).unwrap_or(0);
            rows.sort_by_key(|row| table.table.times[*row]);
            let first = kept.len();
            kept.extend_from_slice(&rows);
            class.resize(kept.len(), index);
            units.push(Unit { class: index, rows: (first..kept.len()).collect() });
        }
        Self {
            features: table.table.columns.iter().map(|column| column.name.clone()).collect(),
            values: matrix(table).select(Axis(0), &kept),
            classes,
            class,
            units,
            most_rows: classify.split.max_rows_per_entity as usize,
        }
    }

    /// Returns the rows of units that a model is fitted on: evenly spaced, at most `most` of a unit.
    fn spaced(&self, units: &[usize], most: usize) -> Vec<usize> {
        let of_unit = |unit: &usize| {
            let rows = &self.units[*unit].rows;
            let count = rows.len().min(most);
            (0..count).map(move |place| rows[place * rows.len() / count])
        };
        units.iter().flat_map(of_unit).collect()
    }

    /// Returns the rows that the final model is fitted on.
    pub(crate) fn all(&self) -> Vec<usize> {
        self.spaced(&(0..self.units.len()).collect::<Vec<_>>(), self.most_rows)
    }

    /// Returns the rows that a repetition is fitted on.
    pub(crate) fn of_repetition(&self, units: &[usize]) -> Vec<usize> {
        let share = (EVALUATION_ROWS / units.len().max(1)).max(2);
        self.spaced(units, self.most_rows.min(share))
    }

    /// Returns how many windows of a left-out entity are predicted.
    pub(crate) fn windows_of_unit(&self, iterations: u32) -> usize {
        let asked = (iterations as usize * self.units.len()).max(1);
        (EVALUATION_WINDOWS / asked).clamp(WINDOWS[0], WINDOWS[1])
    }

    /// Returns rows as a data set.
    pub(crate) fn dataset(&self, rows: &[usize]) -> DatasetBase<Array2<f64>, Array1<usize>> {
        let targets = rows.iter().map(|row| self.class[*row]).collect();
        DatasetBase::new(self.values.select(Axis(0), rows), targets)
    }

    /// Splits the units: a share of each class is fitted on and the others are left out. A class of
    /// one unit is never left out; of two, one is.
    pub(crate) fn split(&self, ratio: f64, random: &mut ChaCha8Rng) -> [Vec<usize>; 2] {
        let [mut fitted, mut out] = [Vec::new(), Vec::new()];
        for class in 0..self.classes.len() {
            let mut of_class: Vec<usize> =
                (0..self.units.len()).filter(|unit| self.units[*unit].class == class).collect();
            shuffle(random, &mut of_class);
            let count = of_class.len();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and the number of units"
            )]
            let share = (ratio * count as f64).round() as usize;
            let share = if count < 2 { count } else { share.clamp(1, count - 1) };
            fitted.extend_from_slice(&of_class[..share]);
            out.extend_from_slice(&of_class[share..]);
        }
        [fitted, out]
    }

    /// Returns how many units each class has.
    pub(crate) fn units_of_classes(&self) -> Vec<u64> {
        let mut counts = vec![0; self.classes.len()];
        self.units.iter().for_each(|unit| counts[unit.class] += 1);
        counts
    }
}

fn refuse_identifiers(table: &FeatureTable) -> Result<(), StepError> {
    let mut names = table.table.columns.iter().map(|column| column.name.as_str());
    match names.find(|name| is_identifier(name)) {
        None => Ok(()),
        Some(name) => Err(StepError::refused(format!(
            "feature `{name}` identifies an entity: a model would learn names instead of behaviour"
        ))
        .hint(format!("exclude it: `columns: [\"*\", \"!{name}\"]`"))),
    }
}

fn warn_of_classes(
    classes: &[String],
    classify: &Classify,
    known: &BTreeMap<&str, Option<String>>,
    outcome: &mut Outcome,
) {
    let absent: Vec<&str> = classify
        .classes
        .keys()
        .filter(|class| !classes.contains(class))
        .map(String::as_str)
        .collect();
    if !absent.is_empty() {
        outcome.warn(format!(
            "no entity declares class `{}`: it cannot be learned",
            absent.join("`, `")
        ));
    }
    let unnamed: Vec<&str> =
        known.iter().filter(|(_, class)| class.is_none()).map(|(text, _)| *text).collect();
    if !unnamed.is_empty() {
        outcome.warn(format!(
            "{} declared texts stand for no class and are not learned, such as `{}`",
            unnamed.len(),
            unnamed[0]
        ));
    }
}
