//! Scoring: verdicts of rows in order of time, and the state between rows.

use contract::rules::{Combine, Threshold};
use contract::score::{EntityScore, Verdict};
use contract::{Span, StepError, Timestamp};
use detectors::sequence::{DynMemory, DynSequence};
use frames::FeatureTable;
use ndarray::{Array2, ArrayView1};

use crate::threshold::Judged;
use crate::vote;
use crate::{Bundle, Model, matrix};

mod absence;
mod decide;
mod judgement;
mod series;
mod state;

pub(crate) use judgement::{Details, Judgement};
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

/// A row that is judged.
struct Row<'a> {
    time: Timestamp,
    entity: &'a str,
    values: ArrayView1<'a, f64>,
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
        let judgements = self.judge(table, state, options)?;
        Ok(self.entity_scores(table, &judgements))
    }

    fn entity_scores(&self, table: &FeatureTable, judgements: &[Judgement]) -> Vec<EntityScore> {
        let rows = judgements.iter().enumerate();
        rows.map(|(row, judgement)| self.entity_score(table, row, judgement)).collect()
    }

    /// Judges rows as [`Bundle::score`] does; returns one judgement per row, in the order of the
    /// rows.
    pub(crate) fn judge(
        &self,
        table: &FeatureTable,
        state: &mut ScoreState,
        options: ScoreOptions,
    ) -> Result<Vec<Judgement>, StepError> {
        self.check_contract(table)?;
        let tables = [(table, matrix(table))];
        let mut judgements = self.decide(&tables, options).pop().unwrap_or_default();
        let [(table, values)] = &tables;
        self.judge_rows(table, values, &mut judgements, state)?;
        Ok(judgements)
    }

    /// Judges rows whose models have decided, in the order of time.
    fn judge_rows(
        &self,
        table: &FeatureTable,
        values: &Array2<f64>,
        judgements: &mut [Judgement],
        state: &mut ScoreState,
    ) -> Result<(), StepError> {
        self.adopt(state)?;
        let mut order: Vec<usize> = (0..table.rows()).collect();
        order.sort_by_key(|row| table.table.times[*row]);
        for row in order.iter().copied() {
            let judgement = &mut judgements[row];
            if judgement.verdict != Verdict::NoData {
                let of_row = Row {
                    time: table.table.times[row],
                    entity: table.table.entity_of(row),
                    values: values.row(row),
                };
                self.judge_row(&of_row, judgement, state);
            }
        }
        if let Some(last) = order.last() {
            self.forget(state, table.table.times[*last]);
        }
        Ok(())
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
    fn judge_row(&self, of: &Row<'_>, judgement: &mut Judgement, state: &mut ScoreState) {
        let rules = &self.manifest.vote;
        self.follow(of, judgement, state);
        for (member, decided) in self.members.iter().zip(&mut judgement.members) {
            let threshold = member.series.threshold(state, &member.kind, of.entity);
            decided.threshold = member.series.scale.backward(threshold);
            if decided.open && decided.decision > decided.threshold {
                decided.voted = true;
                judgement.votes = judgement.votes + member.weight;
            }
        }
        let mean = self.mean(judgement);
        judgement.combined = match rules.combine {
            Combine::Votes => mean,
            Combine::Mean => state.smoothing.add(of.entity, of.time, mean, rules.smoothing),
        };
        judgement.combined_threshold = self.combined.threshold(state, COMBINED, of.entity);
        let alarmed = match rules.combine {
            Combine::Votes => judgement.votes >= rules.alarm_at,
            Combine::Mean => {
                judgement.is_open() && judgement.combined > judgement.combined_threshold
            }
        };
        if alarmed {
            judgement.verdict = Verdict::Anomalous;
        }
        for (_, model) in self.sequences() {
            if let Some(memory) = memory_of(state, model, of.entity) {
                model.judged(memory, alarmed);
                if let Some(new_level) = model.new_level(memory) {
                    judgement.details.get_or_insert_default().new_level = Some(new_level);
                }
            }
        }
        judgement.urgent = self.observe(of, judgement, state) && alarmed;
        if alarmed {
            self.attribute(of, judgement, state);
        }
        self.withhold(judgement);
    }

    /// Limits a score to its threshold if it exceeds it only because of earlier rows. Thresholds
    /// learn the unlimited score.
    fn withhold(&self, judgement: &mut Judgement) {
        if judgement.is_open() {
            return;
        }
        for member in judgement.members.iter_mut().filter(|member| !member.open) {
            member.decision = member.decision.min(member.threshold);
        }
        judgement.combined = match self.manifest.vote.combine {
            Combine::Votes => self.mean(judgement),
            Combine::Mean => judgement.combined.min(judgement.combined_threshold),
        };
    }

    /// Returns the weighted mean of the members' standardised scores of a row.
    fn mean(&self, judgement: &Judgement) -> f64 {
        let decided = self.members.iter().zip(&judgement.members);
        let standardised = decided.map(|(member, decided)| {
            (member.kind.as_str(), member.series.scale.standardised(decided.decision))
        });
        vote::mean(&self.manifest.vote, standardised)
    }

    /// Moves the memories of the models that score rows in the order of time, and notes their
    /// scores and whether they allow an alarm.
    fn follow(&self, of: &Row<'_>, judgement: &mut Judgement, state: &mut ScoreState) {
        if self.sequences().next().is_none() {
            self.watch_absence(of, judgement, state);
            return;
        }
        let values = of.values.to_vec();
        for (number, model) in self.sequences() {
            let memories = state.memories.entry(model.records()).or_default();
            let memory = entry(memories, of.entity, || model.fresh());
            let step = model.step(memory, of.time.ms(), &values);
            let member = &mut judgement.members[number];
            (member.decision, member.open) = (step.decision, step.open);
            let notices = model.notices(memory);
            judgement.add_notices(&notices.drifting, &notices.missing);
        }
    }

    /// Returns the models that score rows in the order of time, with their numbers among the members.
    fn sequences(&self) -> impl Iterator<Item = (usize, &dyn DynSequence)> {
        self.members.iter().enumerate().filter_map(|(index, member)| match &member.model {
            Model::Sequence(model) => Some((index, &**model)),
            Model::Rows(_) => None,
        })
    }

    /// Adds the shares of an alarm's features, which can be computed only while the state is at
    /// its row.
    fn attribute(&self, of: &Row<'_>, judgement: &mut Judgement, state: &mut ScoreState) {
        for (number, model) in self.sequences() {
            if let Some(memory) = memory_of(state, model, of.entity) {
                let details = judgement.details.get_or_insert_default();
                details.attributions.insert(number, model.attribution(memory));
            }
        }
    }

    /// Updates the thresholds; returns whether an alarm is urgent.
    fn observe(&self, of: &Row<'_>, judgement: &Judgement, state: &mut ScoreState) -> bool {
        let alarmed = judgement.verdict == Verdict::Anomalous;
        if self.manifest.vote.combine == Combine::Mean {
            let judged = Judged { score: judgement.combined, alarmed, open: judgement.is_open() };
            return self.combined.observe(state, COMBINED, of, judged);
        }
        let mut urgent = false;
        for (member, decided) in self.members.iter().zip(&judgement.members) {
            let score = member.series.scale.forward(decided.decision);
            // A threshold by false alarms uses the alarms of its own model, a trailing threshold
            // those of the vote.
            let own = member.series.alarms.is_some();
            let alarmed = if own { decided.voted } else { alarmed };
            let judged = Judged { score, alarmed, open: decided.open };
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

#[cfg(test)]
mod tests;
