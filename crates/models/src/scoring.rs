//! Scoring: verdicts of rows in order of time, and the state between rows.

use std::collections::BTreeMap;

use contract::rules::{Combine, Threshold};
use contract::score::{EntityScore, Verdict};
use contract::{Decimal, Span, StepError, Tensors, Timestamp};
use frames::FeatureTable;
use ndarray::{Array2, ArrayView1};

use crate::adaptive::{Adaptive, Memory, NewLevel};
use crate::alarm::AlarmState;
use crate::threshold::{Judged, ThresholdState};
use crate::vote::{self, Smoothing};
use crate::{Bundle, Model, matrix};

mod absence;
mod decide;
mod series;

use absence::Absence;
use series::entry;

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

/// State of scoring between rows. It belongs to one bundle, and is stored in the watermark.
///
/// Scoring a range from a given state gives the same scores and the same state every time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScoreState {
    /// SHA-256 of the reference of the bundle of these scores, empty in a new state; another bundle
    /// starts with a new state.
    pub reference_sha256: String,
    thresholds: BTreeMap<String, ThresholdState>,
    smoothing: Smoothing,
    /// Thresholds by expected false alarms: by series of scores, then by entity.
    pub(crate) alarms: BTreeMap<String, BTreeMap<String, AlarmState>>,
    /// State of the model that follows its signals, by entity.
    pub(crate) memories: BTreeMap<String, Memory>,
    /// Columns without a value, by entity, if no model follows its signals.
    absences: BTreeMap<String, Absence>,
}

impl ScoreState {
    /// Name of the file in a bundle that holds the state at the end of the data set.
    pub const FILE: &str = "memory.safetensors";
    /// Name of the file in a bundle that holds the state before the test part.
    pub const BEFORE_TEST_FILE: &str = "memory-before-test.safetensors";
    /// Kind of content in the metadata of the file.
    const KIND: &str = "memory";

    /// Adds the state to tensors, each name beginning with `prefix`.
    pub fn write(&self, prefix: &str, tensors: &mut Tensors) -> Result<(), StepError> {
        tensors.insert_text(&format!("{prefix}reference_sha256"), &self.reference_sha256);
        for (series, thresholds) in &self.thresholds {
            tensors
                .insert_records(&format!("{prefix}thresholds.{series}"), &thresholds.entities)?;
        }
        for (series, alarms) in &self.alarms {
            tensors.insert_records(&format!("{prefix}alarms.{series}"), alarms)?;
        }
        if !self.smoothing.entities.is_empty() {
            tensors.insert_records(&format!("{prefix}smoothing"), &self.smoothing.entities)?;
        }
        if !self.memories.is_empty() {
            tensors.insert_records(&format!("{prefix}memories"), &self.memories)?;
        }
        if !self.absences.is_empty() {
            tensors.insert_records(&format!("{prefix}absences"), &self.absences)?;
        }
        Ok(())
    }

    /// Takes the state that [`ScoreState::write`] has added.
    pub fn read(prefix: &str, tensors: &mut Tensors) -> Result<Self, StepError> {
        let reference_sha256 = tensors.take_text(&format!("{prefix}reference_sha256"))?;
        let mut state = Self { reference_sha256, ..Self::default() };
        let of_thresholds = format!("{prefix}thresholds.");
        for series in tensors.record_sets(&of_thresholds) {
            let entities = tensors.take_records(&format!("{of_thresholds}{series}"))?;
            state.thresholds.insert(series, ThresholdState { entities });
        }
        let of_alarms = format!("{prefix}alarms.");
        for series in tensors.record_sets(&of_alarms) {
            let alarms = tensors.take_records(&format!("{of_alarms}{series}"))?;
            state.alarms.insert(series, alarms);
        }
        state.smoothing.entities = tensors.take_records(&format!("{prefix}smoothing"))?;
        state.memories = tensors.take_records(&format!("{prefix}memories"))?;
        state.absences = tensors.take_records(&format!("{prefix}absences"))?;
        Ok(state)
    }

    /// Reads the bytes of a file of a bundle, such as [`ScoreState::FILE`]; an invalid file is
    /// refused.
    pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Self, StepError> {
        let named = |e: StepError| StepError { message: format!("`{file}`: {}", e.message), ..e };
        let mut tensors = Tensors::decode(Self::KIND, bytes).map_err(named)?;
        let state = Self::read("", &mut tensors).map_err(named)?;
        tensors.finish().map_err(named)?;
        Ok(state)
    }

    /// Returns the bytes of such a file.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, StepError> {
        let mut tensors = Tensors::default();
        self.write("", &mut tensors)?;
        tensors.encode(Self::KIND)
    }

    /// Returns the time of the last row that was scored; `None` if no row was.
    pub(crate) fn last_time_ms(&self) -> Option<i64> {
        let alarms = self.alarms.values().flat_map(BTreeMap::values).map(|alarm| alarm.time_ms);
        alarms.chain(self.memories.values().filter_map(Memory::time_ms)).max()
    }
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
    /// Attributions of the model that follows its signals, by anomalous row.
    pub(crate) attributions: BTreeMap<usize, Vec<f64>>,
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
        state.memories.retain(|_, memory| memory.time_ms().is_some_and(|time| time > oldest));
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
            let may_vote = open || matches!(member.model, Model::Rows(_));
            if may_vote && decision > threshold {
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
            Combine::Mean => open && combined > combined_threshold,
        };
        if alarmed {
            verdicts.of_rows[row] = Verdict::Anomalous;
        }
        let memory = state.memories.get_mut(of.entity);
        if let Some(((_, model), memory)) = self.sequence().zip(memory) {
            model.judged(memory, alarmed);
            verdicts.new_levels.extend(memory.new_level().map(|new| (row, new)));
        }
        (verdicts.combined[row], verdicts.combined_thresholds[row]) =
            (combined, combined_threshold);
        verdicts.urgent[row] = self.observe(of, verdicts, state) && alarmed;
        self.attribute(of, verdicts, state);
        if !open {
            self.withhold(row, verdicts);
        }
    }

    /// Limits a score to its threshold if it exceeds it only because of earlier rows. Thresholds
    /// learn the unlimited score.
    fn withhold(&self, row: usize, verdicts: &mut Verdicts) {
        let Some((index, _)) = self.sequence() else { return };
        let threshold = verdicts.thresholds[index][row];
        let decision = &mut verdicts.decisions[index][row];
        *decision = decision.min(threshold);
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

    /// Updates the state of the model that follows its signals, and records its score. Returns
    /// whether that model allows an alarm; true without such a model.
    fn follow(&self, of: &Row<'_>, verdicts: &mut Verdicts, state: &mut ScoreState) -> bool {
        let Some((index, model)) = self.sequence() else {
            self.watch_absence(of, verdicts, state);
            return true;
        };
        let memory = entry(&mut state.memories, of.entity, || model.following().fresh());
        let step = model.step(memory, of.time.ms(), &of.values.to_vec());
        let number = of.number;
        verdicts.decisions[index][number] = step.decision;
        let (drifting, missing) = (memory.drifting().to_vec(), model.following().missing(memory));
        for (rows, of) in [(&mut verdicts.drifting, drifting), (&mut verdicts.missing, missing)] {
            if !of.is_empty() {
                rows.insert(number, of);
            }
        }
        step.open
    }

    /// Returns the model that follows its signals, if there is one, and its number.
    fn sequence(&self) -> Option<(usize, &Adaptive)> {
        self.members.iter().enumerate().find_map(|(index, member)| match &member.model {
            Model::Sequence(model) => Some((index, &**model)),
            Model::Rows(_) => None,
        })
    }

    /// The shares of an alarm's features can be computed only while the state is at its row.
    fn attribute(&self, of: &Row<'_>, verdicts: &mut Verdicts, state: &ScoreState) {
        if verdicts.of_rows[of.number] != Verdict::Anomalous {
            return;
        }
        let Some((_, model)) = self.sequence() else { return };
        let memory = state.memories.get(of.entity);
        let shares = memory.map(|memory| model.attribution(memory));
        verdicts.attributions.insert(of.number, shares.unwrap_or_default());
    }

    /// Updates the thresholds; returns whether the alarm is urgent.
    fn observe(&self, of: &Row<'_>, verdicts: &Verdicts, state: &mut ScoreState) -> bool {
        let alarmed = verdicts.of_rows[of.number] == Verdict::Anomalous;
        if self.manifest.vote.combine == Combine::Mean {
            let judged = Judged { score: verdicts.combined[of.number], alarmed };
            return self.combined.observe(state, COMBINED, of, judged);
        }
        let mut urgent = false;
        for (index, member) in self.members.iter().enumerate() {
            let score = member.series.scale.forward(verdicts.decisions[index][of.number]);
            // A threshold by false alarms uses the alarms of its own model, a trailing threshold
            // those of the vote.
            let own = member.series.alarms.is_some();
            let alarmed = if own { verdicts.voted[index][of.number] } else { alarmed };
            urgent |= member.series.observe(state, &member.kind, of, Judged { score, alarmed });
        }
        urgent
    }
}
