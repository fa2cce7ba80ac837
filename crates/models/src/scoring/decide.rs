//! What models that score each row by itself say of the rows of one table or of several.

use contract::StepError;
use contract::score::EntityScore;
use frames::FeatureTable;
use ndarray::{Array2, ArrayView1, Axis, concatenate};

use super::{Judgement, ScoreOptions, ScoreState};
use crate::{Bundle, Model, matrix};

impl Bundle {
    /// Scores several tables as [`Bundle::score`] scores each of them from the state that training left,
    /// to the last bit, with one call of each model that scores rows by themselves. A table that is
    /// refused is refused alone.
    pub fn score_apart(
        &self,
        tables: &[&FeatureTable],
        options: ScoreOptions,
    ) -> Vec<Result<Vec<EntityScore>, StepError>> {
        let fits = |table: &&&FeatureTable| self.check_contract(table).is_ok();
        let fitting = tables.iter().filter(fits).map(|table| (*table, matrix(table)));
        let fitting: Vec<(&FeatureTable, Array2<f64>)> = fitting.collect();
        let mut decided = fitting.iter().zip(self.decide(&fitting, options));
        let score = |table: &&FeatureTable| {
            self.check_contract(table)?;
            // There is one for each table that fits, in their order.
            let Some(((table, values), mut judgements)) = decided.next() else {
                return Ok(Vec::new());
            };
            let state = &mut ScoreState::default();
            self.judge_rows(table, values, &mut judgements, state)?;
            Ok(self.entity_scores(table, &judgements))
        };
        tables.iter().map(score).collect()
    }

    /// Computes completeness, and the decision scores of models that score each row by itself, with one
    /// call of each model for the rows of all tables. Returns the judgements of each table's rows.
    pub(super) fn decide(
        &self,
        tables: &[(&FeatureTable, Array2<f64>)],
        options: ScoreOptions,
    ) -> Vec<Vec<Judgement>> {
        let open = |(table, values): &(&FeatureTable, Array2<f64>)| {
            self.undecided(table, values, options.min_completeness)
        };
        let (mut judgements, scored): (Vec<Vec<Judgement>>, Vec<Vec<usize>>) =
            tables.iter().map(open).unzip();
        let chosen;
        let view = match (tables, scored.as_slice()) {
            ([(_, values)], [scored]) if scored.len() == values.nrows() => values.view(),
            _ => {
                let parts = tables.iter().zip(&scored);
                let parts: Vec<Array2<f64>> =
                    parts.map(|((_, values), rows)| values.select(Axis(0), rows)).collect();
                let views: Vec<_> = parts.iter().map(Array2::view).collect();
                // Tables of one contract have the same columns.
                let columns = self.manifest.contract.columns.len();
                chosen =
                    concatenate(Axis(0), &views).unwrap_or_else(|_| Array2::zeros((0, columns)));
                chosen.view()
            }
        };
        for (number, member) in self.members.iter().enumerate() {
            let Model::Rows(detector) = &member.model else { continue };
            let mut decisions = detector.decision(view, options.threads).into_iter();
            for (judgements, rows) in judgements.iter_mut().zip(&scored) {
                rows.iter().zip(&mut decisions).for_each(|(row, decision)| {
                    judgements[*row].members[number].decision = decision;
                });
            }
        }
        judgements
    }

    /// Returns judgements on which no model has decided yet, and the numbers of the rows that have
    /// enough values.
    fn undecided(
        &self,
        table: &FeatureTable,
        values: &Array2<f64>,
        min_completeness: f64,
    ) -> (Vec<Judgement>, Vec<usize>) {
        let columns = values.ncols().max(1) as f64;
        let present = |row: ArrayView1<'_, f64>| row.iter().filter(|v| v.is_finite()).count();
        let mut scored = Vec::new();
        let rows = values.rows().into_iter().zip(&table.warm_up).enumerate();
        let judgements = rows.map(|(number, (row, is_warm_up))| {
            let completeness = present(row) as f64 / columns;
            if completeness < min_completeness || *is_warm_up {
                return Judgement::no_data(completeness);
            }
            scored.push(number);
            Judgement::undecided(completeness, self.members.len())
        });
        let judgements = judgements.collect();
        (judgements, scored)
    }
}
