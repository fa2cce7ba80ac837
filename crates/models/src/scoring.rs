//! Scoring: verdicts of rows in order of time, and the state between rows.

use std::collections::BTreeMap;

use contract::rules::{Combine, Threshold};
use contract::score::{EntityScore, Verdict};
use contract::{Decimal, Span, StepError, Timestamp};
use frames::FeatureTable;
use ndarray::{Array2, ArrayView1};

use crate::sequence::{DynMemory, DynSequence, NewLevel, Notices};
use crate::threshold::Judged;
use crate::vote;
use crate::{Bundle, Model, matrix};

mod absence;
mod decide;
mod series;
mod state;

use series::entry;
pub use state::ScoreState;

/// Name of the series of combined scores in a [`ScoreState`].
pub(crate) const COMBINED: &str = "combined";

/// Shortest time for which the state of an absent entity is kept; a deleted pod needs no state.
const MEMORY_KEPT: Span = Span::from_seconds(3 * 86_400);

/// How rows are scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreOptions {
    /// Share of a row's features that must have a value, 0 to 1; other rows are `no_data`.
    pub min_completeness: f64,
    /// Threads; the scores do not depend on it.
    pub threads: usize,
}

/// A row and its verdict.
struct Row<'a> {
    number: usize,
    time: Timestamp,
    entity: &'a str,
    values: ArrayView1<'a, f64>,
}

/// Verdicts of rows; one item per row in every vector, in the order of the rows.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    pub(crate) of_rows: Vec<Verdict>,
    /// Combined score, on which rows can be ranked; for `no_data` it is `NaN`.
    pub(crate) combined: Vec<f64>,
    pub(crate) combined_thresholds: Vec<f64>,
    pub(crate) completeness: Vec<f64>,
    pub(crate) votes: Vec<Decimal>,
    /// Decision scores by member, then by row.
    pub(crate) decisions: Vec<Vec<f64>>,
    /// Thresholds by member, then by row, as decision scores.
    pub(crate) thresholds: Vec<Vec<f64>>,
    /// Votes by member, then by row.
    pub(crate) voted: Vec<Vec<bool>>,
    pub(crate) urgent: Vec<bool>,
    /// Columns of a drift notice, by row.
    pub(crate) drifting: BTreeMap<usize, Vec<usize>>,
    /// Columns with a new level after the last alarm, by row.
    pub(crate) new_levels: BTreeMap<usize, NewLevel>,
    /// Columns that have had no value for a while, by row.
    pub(crate) missing: BTreeMap<usize, Vec<usize>>,
    /// Attributions of models that score rows in the order of time, by anomalous row and member.
    pub(crate) attributions: BTreeMap<(usize, usize), Vec<f64>>,
}

impl Bundle {
    /// Scores rows: one verdict per row, in the order of the rows.
    ///
    /// Rows are scored in order of time, and each one updates `state`. A row with too few values,
    /// or in the warm-up of the features, is `no_data` and is not learned.
    pub fn score(
        &self,
        table: &FeatureTable,
        state: &mut ScoreState,
        options: ScoreOptions,
    ) -> Result<Vec<EntityScore>, StepError> {
        let verdicts = self.judge(table, state, options)?;
        Ok(self.entity_scores(table, &verdicts))
    }

    fn entity_scores(&self, table: &FeatureTable, verdicts: &Verdicts) -> Vec<EntityScore> {
        (0..table.rows()).map(|row| self.entity_score(table, verdicts, row)).collect()
    }

    pub(crate) fn judge(
        &self,
        table: &FeatureTable,
        state: &mut ScoreState,
        options: ScoreOptions,
    ) -> Result<Verdicts, StepError> {
        self.check_contract(table)?;
        let tables = [(table, matrix(table))];
        let verdicts = self.decide(&tables, options).pop().unwrap_or_default();
        let [(table, values)] = &tables;
        self.judge_rows((table, values), verdicts, state)
    }

    /// Judges rows whose models have decided, in the order of time.
    fn judge_rows(
        &self,
        (table, values): (&FeatureTable, &Array2<f64>),
        mut verdicts: Verdicts,
        state: &mut ScoreState,
    ) -> Result<Verdicts, StepError> {
        self.adopt(state)?;
        let mut order: Vec<usize> = (0..table.rows()).collect();
        order.sort_by_key(|row| table.table.times[*row]);
        for row in order.iter().copied() {
            if verdicts.of_rows[row] != Verdict::NoData {
                let of_row = Row {
                    number: row,
                    time: table.table.times[row],
                    entity: table.table.entity_of(row),
                    values: values.row(row),
                };
                self.judge_row(&of_row, &mut verdicts, state);
            }
        }
        if let Some(last) = order.last() {
            self.forget(state, table.table.times[*last]);
        }
        Ok(verdicts)
    }

    /// Returns an empty state, without the bundle's state, which is that at the end of its data
    /// set.
    pub fn without_past(&self) -> ScoreState {
        ScoreState {
            reference_sha256: self.manifest.reference.sha256.clone(),
            ..ScoreState::default()
        }
    }

    /// Assigns a state to this bundle, because scores of another bundle have another scale.
    fn adopt(&self, state: &mut ScoreState) -> Result<(), StepError> {
        let ours = &self.manifest.reference.sha256;
        if state.reference_sha256 == *ours {
            return Ok(());
        }
        if self.manifest.memory.is_some() && self.initial.reference_sha256.is_empty() {
            return Err(StepError::bug("a bundle that was read without its memory begins anew"));
        }
        *state = ScoreState { reference_sha256: ours.clone(), ..self.initial.clone() };
        Ok(())
    }

    fn forget(&self, state: &mut ScoreState, now: Timestamp) {
        let history = match &self.manifest.vote.threshold {
            Threshold::Quantile(_) => Span::ZERO,
            Threshold::Trailing(threshold) => threshold.history,
            Threshold::FalseAlarms(threshold) => threshold.history,
        };
        state
            .thresholds
            .values_mut()
            .for_each(|thresholds| thresholds.forget_before(now - history));
        state.smoothing.forget_before(now - self.manifest.vote.smoothing);
        let oldest = (now - history.max(MEMORY_KEPT)).ms();
        for alarms in state.alarms.values_mut() {
            alarms.retain(|_, alarm| alarm.time_ms > oldest);
        }
        state.absences.retain(|_, absence| absence.is_later_than(oldest));
        for memories in state.memories.values_mut() {
            memories.retain(|_, memory| memory.time_ms().is_some_and(|time| time > oldest));
        }
        state.memories.retain(|_, memories| !memories.is_empty());
    }

    /// Compares a row's scores with the thresholds of its time, and updates the thresholds.
    fn judge_row(&self, of: &Row<'_>, verdicts: &mut Verdicts, state: &mut ScoreState) {
        let (row, rules) = (of.number, &self.manifest.vote);
        let open = self.follow(of, verdicts, state);
        for (index, member) in self.members.iter().enumerate() {
            let decision = verdicts.decisions[index][row];
            let threshold = member.series.scale.backward(member.series.threshold(
                state,
                &member.kind,
                of.entity,
            ));
            verdicts.thresholds[index][row] = threshold;
            if open[index] && decision > threshold {
                verdicts.voted[index][row] = true;
                verdicts.votes[row] = verdicts.votes[row] + member.weight;
            }
        }
        let mean = self.mean(row, verdicts);
        let combined = match rules.combine {
            Combine::Votes => mean,
            Combine::Mean => state.smoothing.add(of.entity, of.time, mean, rules.smoothing),
        };
        let combined_threshold = self.combined.threshold(state, COMBINED, of.entity);
        let alarmed = match rules.combine {
            Combine::Votes => verdicts.votes[row] >= rules.alarm_at,
            Combine::Mean => open.iter().all(|open| *open) && combined > combined_threshold,
        };
        if alarmed {
            verdicts.of_rows[row] = Verdict::Anomalous;
        }
        for (_, model) in self.sequences() {
            if let Some(memory) = memory_of(state, model, of.entity) {
                model.judged(memory, alarmed);
                verdicts.new_levels.extend(model.new_level(memory).map(|new| (row, new)));
            }
        }
        (verdicts.combined[row], verdicts.combined_thresholds[row]) =
            (combined, combined_threshold);
        verdicts.urgent[row] = self.observe(of, &open, verdicts, state) && alarmed;
        self.attribute(of, verdicts, state);
        self.withhold(row, &open, verdicts);
    }

    /// Limits a score to its threshold if it exceeds it only because of earlier rows. Thresholds
    /// learn the unlimited score.
    fn withhold(&self, row: usize, open: &[bool], verdicts: &mut Verdicts) {
        let closed: Vec<usize> = (0..open.len()).filter(|index| !open[*index]).collect();
        if closed.is_empty() {
            return;
        }
        for index in closed {
            let threshold = verdicts.thresholds[index][row];
            let decision = &mut verdicts.decisions[index][row];
            *decision = decision.min(threshold);
        }
        match self.manifest.vote.combine {
            Combine::Votes => verdicts.combined[row] = self.mean(row, verdicts),
            Combine::Mean => {
                verdicts.combined[row] =
                    verdicts.combined[row].min(verdicts.combined_thresholds[row]);
            }
        }
    }

    /// Returns the weighted mean of the members' standardised scores of a row.
    fn mean(&self, row: usize, verdicts: &Verdicts) -> f64 {
        let standardised = self.members.iter().enumerate().map(|(index, member)| {
            (member.kind.as_str(), member.series.scale.standardised(verdicts.decisions[index][row]))
        });
        vote::mean(&self.manifest.vote, standardised)
    }

    /// Moves the memories of the models that score rows in the order of time, and notes their scores.
    /// Says of each member whether an alarm may stand as far as it is concerned.
    fn follow(&self, of: &Row<'_>, verdicts: &mut Verdicts, state: &mut ScoreState) -> Vec<bool> {
        let mut open = vec![true; self.members.len()];
        if self.sequences().next().is_none() {
            self.watch_absence(of, verdicts, state);
            return open;
        }
        let (number, values) = (of.number, of.values.to_vec());
        for (index, model) in self.sequences() {
            let memories = state.memories.entry(model.records()).or_default();
            let memory = entry(memories, of.entity, || model.fresh());
            let step = model.step(memory, of.time.ms(), &values);
            verdicts.decisions[index][number] = step.decision;
            open[index] = step.open;
            let Notices { drifting, missing } = model.notices(memory);
            note(&mut verdicts.drifting, number, drifting);
            note(&mut verdicts.missing, number, missing);
        }
        open
    }

    /// Returns the models that score rows in the order of time, with their numbers among the members.
    fn sequences(&self) -> impl Iterator<Item = (usize, &dyn DynSequence)> {
        self.members.iter().enumerate().filter_map(|(index, member)| match &member.model {
            Model::Sequence(model) => Some((index, &**model)),
            Model::Rows(_) => None,
        })
    }

    /// The shares of an alarm's features can be computed only while the state is at its row.
    fn attribute(&self, of: &Row<'_>, verdicts: &mut Verdicts, state: &mut ScoreState) {
        if verdicts.of_rows[of.number] != Verdict::Anomalous {
            return;
        }
        for (index, model) in self.sequences() {
            if let Some(memory) = memory_of(state, model, of.entity) {
                verdicts.attributions.insert((of.number, index), model.attribution(memory));
            }
        }
    }

    /// Updates the thresholds; returns whether the alarm is urgent.
    fn observe(
        &self,
        of: &Row<'_>,
        open: &[bool],
        verdicts: &Verdicts,
        state: &mut ScoreState,
    ) -> bool {
        let alarmed = verdicts.of_rows[of.number] == Verdict::Anomalous;
        if self.manifest.vote.combine == Combine::Mean {
            let open = open.iter().all(|open| *open);
            let judged = Judged { score: verdicts.combined[of.number], alarmed, open };
            return self.combined.observe(state, COMBINED, of, judged);
        }
        let mut urgent = false;
        for (index, member) in self.members.iter().enumerate() {
            let score = member.series.scale.forward(verdicts.decisions[index][of.number]);
            // A threshold by false alarms uses the alarms of its own model, a trailing threshold
            // those of the vote.
            let own = member.series.alarms.is_some();
            let alarmed = if own { verdicts.voted[index][of.number] } else { alarmed };
            let judged = Judged { score, alarmed, open: open[index] };
            urgent |= member.series.observe(state, &member.kind, of, judged);
        }
        urgent
    }
}

fn memory_of<'a>(
    state: &'a mut ScoreState,
    model: &dyn DynSequence,
    entity: &str,
) -> Option<&'a mut DynMemory> {
    state.memories.get_mut(model.records())?.get_mut(entity)
}

/// Adds columns to those of a row, in order.
fn note(rows: &mut BTreeMap<usize, Vec<usize>>, row: usize, columns: Vec<usize>) {
    if !columns.is_empty() {
        let all = rows.entry(row).or_default();
        all.extend(columns);
        all.sort_unstable();
        all.dedup();
    }
}

#[cfg(test)]
mod tests;
