//! Class probabilities of the rows of a table, on several threads.

use frames::FeatureTable;

use super::ClassBundle;

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
}
