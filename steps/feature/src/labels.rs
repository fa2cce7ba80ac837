//! The label of each row: from a scenario log, or from the source's labels.

use std::collections::HashMap;

use frames::{LabelInterval, RowLabels, Table};

use crate::grid::{Grid, NO_SAMPLE};

/// Returns the label of rows outside of all scenarios.
///
/// It is a label that the document counts as normal.
fn normal_label(normal: &[String]) -> String {
    let usual = "normal".to_owned();
    match normal.first() {
        Some(first) if !frames::is_normal(normal, &usual) => first.clone(),
        _ => usual,
    }
}

/// Labels rows by the intervals of a scenario log.
///
/// A row is inside an interval that starts before it and ends at or after it, and whose target is
/// its entity or no entity of the table. A guard band also excludes a row that lies in another
/// scenario, and the row has the label of that scenario; of two intervals of the same kind the
/// earlier one in the log counts.
pub(crate) fn from_intervals(
    table: &Table,
    intervals: &[LabelInterval],
    normal: &[String],
) -> RowLabels {
    let rows = table.rows();
    let mut labels = RowLabels {
        label: vec![normal_label(normal); rows],
        scenario: vec![String::new(); rows],
        excluded: vec![false; rows],
    };
    let of_kind = |guard: bool| intervals.iter().rev().filter(move |i| i.guard == guard);
    for interval in of_kind(true).chain(of_kind(false)) {
        let target = table.entities.iter().position(|name| *name == interval.target);
        let first = table.times.partition_point(|time| *time <= interval.start);
        let end = table.times.partition_point(|time| *time <= interval.end);
        for row in first..end {
            if target.is_some_and(|target| target != table.entity[row] as usize) {
                continue;
            }
            labels.label[row].clone_from(&interval.label);
            labels.scenario[row].clone_from(&interval.scenario);
            labels.excluded[row] |= interval.guard;
        }
    }
    labels
}

/// Labels rows by the labels of their samples.
///
/// A row without a sample has the label of the previous row and counts in no metric; so does a
/// sample without a label. Consecutive rows of an entity with the same anomalous label are one
/// scenario, named after its first row.
pub(crate) fn from_samples(
    grid: &Grid,
    sample_labels: &[String],
    rows: &[u32],
    table: &Table,
    normal: &[String],
) -> RowLabels {
    let mut carried = vec![""; grid.rows()];
    for entity in &grid.entities {
        let mut last = "";
        for row in entity.range() {
            let sample = sample_labels.get(grid.source[row] as usize);
            last = sample.map_or(last, String::as_str);
            carried[row] = last;
        }
    }
    let mut labels = RowLabels::default();
    // By entity: the label and scenario of the previous row.
    let mut before: HashMap<u32, (&str, String)> = HashMap::new();
    for (row, grid_row) in rows.iter().enumerate() {
        let label = carried[*grid_row as usize];
        let entity = table.entity[row];
        if label.is_empty() {
            labels.label.push(normal_label(normal));
            labels.scenario.push(String::new());
            labels.excluded.push(true);
            continue;
        }
        let scenario = match before.remove(&entity) {
            _ if normal.iter().any(|normal| normal == label) => String::new(),
            Some((same, scenario)) if same == label => scenario,
            _ => scenario_name(label, table, row),
        };
        before.insert(entity, (label, scenario.clone()));
        labels.label.push(label.to_owned());
        labels.scenario.push(scenario);
        labels.excluded.push(grid.source[*grid_row as usize] == NO_SAMPLE);
    }
    labels
}

fn scenario_name(label: &str, table: &Table, row: usize) -> String {
    match table.entity_of(row) {
        "" => format!("{label}@{}", table.times[row]),
        entity => format!("{label}@{}@{entity}", table.times[row]),
    }
}

#[cfg(test)]
mod tests {
    use contract::Timestamp;

    use super::*;

    fn table() -> Table {
        let mut table = Table { entities: vec!["a".into(), "b".into()], ..Table::default() };
        for minute in 0..6 {
            for entity in 0..2 {
                table.times.push(Timestamp::from_ms(minute * 60_000));
                table.entity.push(entity);
            }
        }
        table
    }

    fn interval(start: i64, end: i64, target: &str, label: &str, guard: bool) -> LabelInterval {
        LabelInterval {
            start: Timestamp::from_ms(start * 60_000),
            end: Timestamp::from_ms(end * 60_000),
            label: label.into(),
            target: target.into(),
            scenario: format!("{label}-1"),
            guard,
        }
    }

    fn of(labels: &RowLabels, entity: usize) -> Vec<&str> {
        labels.label.iter().skip(entity).step_by(2).map(String::as_str).collect()
    }

    #[test]
    fn the_start_is_outside_and_the_end_inside() {
        let labels = from_intervals(&table(), &[interval(1, 3, "a", "cpu", false)], &[]);
        assert_eq!(of(&labels, 0), ["normal", "normal", "cpu", "cpu", "normal", "normal"]);
        assert!(of(&labels, 1).iter().all(|label| *label == "normal"), "another entity");
    }

    #[test]
    fn a_target_that_no_entity_has_means_all_of_them() {
        let labels = from_intervals(&table(), &[interval(1, 3, "pod-7", "cpu", false)], &[]);
        assert_eq!(of(&labels, 0), of(&labels, 1));
        assert_eq!(labels.scenario[4], "cpu-1");
    }

    #[test]
    fn a_guard_band_excludes_what_lies_in_another_scenario_in_any_order() {
        let mut intervals =
            vec![interval(0, 3, "", "memory", true), interval(2, 4, "", "cpu", false)];
        for _ in 0..2 {
            let labels = from_intervals(&table(), &intervals, &[]);
            assert_eq!(of(&labels, 0), ["normal", "memory", "memory", "cpu", "cpu", "normal"]);
            let excluded: Vec<bool> = labels.excluded.iter().step_by(2).copied().collect();
            assert_eq!(excluded, [false, true, true, true, false, false]);
            intervals.reverse();
        }
    }

    #[test]
    fn rows_outside_have_a_label_the_document_calls_normal() {
        assert_eq!(normal_label(&["0".into(), "benign".into()]), "0");
        assert_eq!(normal_label(&["0".into(), "normal".into()]), "normal");
        assert_eq!(normal_label(&[]), "normal");
    }
}
