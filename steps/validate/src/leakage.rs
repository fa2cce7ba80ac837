//! Detects label leakage: something other than behaviour that predicts the label, such as time, an
//! address, or an id.
//!
//! A model with access to it learns it instead of behaviour, and a random split, which puts rows of
//! one time and one address into every part, makes such a model look perfect.

use std::collections::HashMap;

use frames::{FeatureTable, is_normal};

/// Balanced accuracy above which a column counts as predicting the label.
const PREDICTS: f64 = 0.85;
/// Number of rows before and after a row, in some order, that vote on its label.
const NEIGHBOURS: usize = 5;
/// Minimum number of rows of each class for a result.
const FEWEST_ROWS: usize = 20;
/// Share of distinct values from which a column of whole numbers is considered an id.
const ID_SHARE: f64 = 0.9;

/// Something that predicts the label by itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leak {
    /// Description of it.
    pub(crate) what: String,
    /// Mean of the shares of correctly classified normal and anomalous rows, 0 to 1.
    pub(crate) balanced_accuracy: f64,
}

impl Leak {
    /// Returns the warning as a sentence.
    pub(crate) fn sentence(&self) -> String {
        format!(
            "{} alone predicts the label (balanced accuracy {:.3}): keep it out of the features, and trust no figure of a random split",
            self.what, self.balanced_accuracy
        )
    }
}

/// Returns everything that predicts the labels of a table. `with_time` sets whether time is
/// checked, too: labels from a scenario log are defined by times.
pub(crate) fn check(table: &FeatureTable, normal: &[String], with_time: bool) -> Vec<Leak> {
    let Some(labels) = &table.labels else { return Vec::new() };
    let rows: Vec<usize> = (0..table.rows()).filter(|row| !labels.excluded[*row]).collect();
    let truth: Vec<bool> = rows.iter().map(|row| !is_normal(normal, &labels.label[*row])).collect();
    let anomalous = truth.iter().filter(|is_anomalous| **is_anomalous).count();
    if anomalous.min(truth.len() - anomalous) < FEWEST_ROWS {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut add = |what: String, predicted: &[bool]| {
        let balanced_accuracy = balanced_accuracy(&truth, predicted);
        if balanced_accuracy >= PREDICTS {
            found.push(Leak { what, balanced_accuracy });
        }
    };
    if with_time {
        let times: Vec<f64> = rows.iter().map(|row| table.table.times[*row].ms() as f64).collect();
        add("time".to_owned(), &by_neighbours(&times, &truth));
    }
    let entities: Vec<&str> = rows.iter().map(|row| table.table.entity_of(*row)).collect();
    let addresses: Vec<&str> = entities.iter().map(|entity| address(entity)).collect();
    add("the entity".to_owned(), &by_group(&entities, &truth));
    if addresses != entities {
        add("the source address".to_owned(), &by_group(&addresses, &truth));
    }
    for column in &table.table.columns {
        let values: Vec<f64> = rows.iter().map(|row| column.values[*row]).collect();
        if is_id(&values) {
            let what = format!("the column `{}`, which looks like an id,", column.name);
            add(what, &by_neighbours(&values, &truth));
        }
    }
    found
}

/// Returns the address in the name of a connection, such as `10.0.0.5:40000>10.0.0.10:443/tcp`.
fn address(entity: &str) -> &str {
    let Some((source, _)) = entity.split_once('>') else { return entity };
    source.rsplit_once(':').map_or(source, |(address, _)| address)
}

/// Returns whether values are whole numbers that are almost all distinct.
fn is_id(values: &[f64]) -> bool {
    let mut distinct: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let is_whole = values.iter().all(|value| value.is_finite() && value.fract() == 0.0);
    is_whole && distinct.len() as f64 >= ID_SHARE * values.len() as f64
}

/// Predicts each row by the majority of its neighbours in the order of a value.
fn by_neighbours(values: &[f64], truth: &[bool]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut predicted = vec![false; values.len()];
    for (place, row) in order.iter().enumerate() {
        let from = place.saturating_sub(NEIGHBOURS);
        let to = (place + NEIGHBOURS + 1).min(order.len());
        let votes = order[from..to].iter().filter(|other| truth[**other]).count();
        let votes = votes - usize::from(truth[*row]);
        predicted[*row] = 2 * votes > to - from - 1;
    }
    predicted
}

/// Predicts each row by the majority of the others of its group.
fn by_group(groups: &[&str], truth: &[bool]) -> Vec<bool> {
    let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
    for (group, is_anomalous) in groups.iter().zip(truth) {
        let (anomalous, all) = counts.entry(group).or_default();
        *anomalous += usize::from(*is_anomalous);
        *all += 1;
    }
    let predict = |(group, is_anomalous): (&&str, &bool)| {
        let (anomalous, all) = counts.get(group).copied().unwrap_or_default();
        2 * (anomalous - usize::from(*is_anomalous)) > all - 1
    };
    groups.iter().zip(truth).map(predict).collect()
}

fn balanced_accuracy(truth: &[bool], predicted: &[bool]) -> f64 {
    let recall = |class: bool| {
        let of_class = truth.iter().zip(predicted).filter(|(truth, _)| **truth == class);
        let right = of_class.clone().filter(|(_, predicted)| **predicted == class).count();
        right as f64 / of_class.count().max(1) as f64
    };
    f64::midpoint(recall(true), recall(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_blocks_predict_and_mixed_ones_do_not() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let block: Vec<bool> = (0..100).map(|row| (40..80).contains(&row)).collect();
        let mixed: Vec<bool> = (0..100).map(|row| row % 2 == 0).collect();
        let accuracy = |truth: &[bool]| balanced_accuracy(truth, &by_neighbours(&values, truth));
        assert!(accuracy(&block) > 0.95, "{}", accuracy(&block));
        assert!(accuracy(&mixed) < 0.6, "{}", accuracy(&mixed));
    }

    #[test]
    fn classifier_group_does_not_predict_single_rows() {
        let truth = [true, true, true, false, false, true];
        let predicted = by_group(&["a", "a", "a", "b", "b", "c"], &truth);
        assert_eq!(predicted, [true, true, true, false, false, false]);
    }

    #[test]
    fn whole_numbers_that_hardly_repeat_are_ids() {
        let ids: Vec<f64> = (0..100).map(|row| f64::from(row * 7)).collect();
        assert!(is_id(&ids));
        assert!(!is_id(&ids.iter().map(|id| id / 2.0).collect::<Vec<_>>()));
        assert!(!is_id(&ids.iter().map(|id| (id / 10.0).floor()).collect::<Vec<_>>()));
        assert_eq!(address("10.0.0.5:40000>10.0.0.10:443/tcp"), "10.0.0.5");
        assert_eq!((address("fd00::1:80>x/tcp"), address("pod-1")), ("fd00::1", "pod-1"));
    }
}
