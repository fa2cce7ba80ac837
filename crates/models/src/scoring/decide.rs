//! What models that score each row by itself say of the rows of one table or of several.

use contract::score::{EntityScore, Verdict};
use contract::{Decimal, StepError};
use frames::FeatureTable;
use ndarray::{Array2, ArrayView1, Axis, concatenate};

use super::{ScoreOptions, ScoreState, Verdicts};
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
            let Some(((table, values), verdicts)) = decided.next() else { return Ok(Vec::new()) };
            let state = &mut ScoreState::default();
            let verdicts = self.judge_rows((table, values), verdicts, state)?;
            Ok(self.entity_scores(table, &verdicts))
        };
        tables.iter().map(score).collect()
    }

    /// Computes completeness, and the decision scores of models that score each row by itself, with one
    /// call of each model for the rows of all tables. Returns what was found of each table.
    pub(super) fn decide(
        &self,
        tables: &[(&FeatureTable, Array2<f64>)],
        options: ScoreOptions,
    ) -> Vec<Verdicts> {
        let open = |(table, values): &(&FeatureTable, Array2<f64>)| {
            self.undecided(table, values, options.min_completeness)
        };
        let (mut verdicts, scored): (Vec<Verdicts>, Vec<Vec<usize>>) =
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
            for (verdicts, rows) in verdicts.iter_mut().zip(&scored) {
                let of_member = &mut verdicts.decisions[number];
                rows.iter().zip(&mut decisions).for_each(|(row, decision)| {
                    of_member[*row] = decision;
                });
            }
        }
        verdicts
    }

    /// Returns verdicts that no model has decided yet, and the rows of which enough is there.
    fn undecided(
        &self,
        table: &FeatureTable,
        values: &Array2<f64>,
        min_completeness: f64,
    ) -> (Verdicts, Vec<usize>) {
        let rows = table.rows();
        let columns = values.ncols().max(1) as f64;
        let present = |row: ArrayView1<'_, f64>| row.iter().filter(|v| v.is_finite()).count();
        let completeness: Vec<f64> =
            values.rows().into_iter().map(|row| present(row) as f64 / columns).collect();
        let scored: Vec<usize> = (0..rows)
            .filter(|&row| completeness[row] >= min_completeness && !table.warm_up[row])
            .collect();
        let mut of_rows = vec![Verdict::NoData; rows];
        scored.iter().for_each(|row| of_rows[*row] = Verdict::Normal);
        let nothing = vec![f64::NAN; rows];
        let members = self.members.len();
        let verdicts = Verdicts {
            of_rows,
            combined: nothing.clone(),
            combined_thresholds: nothing.clone(),
            completeness,
            votes: vec![Decimal::ZERO; rows],
            decisions: vec![nothing.clone(); members],
            thresholds: vec![nothing; members],
            voted: vec![vec![false; rows]; members],
            urgent: vec![false; rows],
            ..Verdicts::default()
        };
        (verdicts, scored)
    }
}
