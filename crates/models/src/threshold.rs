//! Thresholds: fixed, or following the detector's own recent scores.
//!
//! The trailing threshold is `max(fixed, median + times * deviation)` over the recent scores of the
//! entity, past only. Alarmed windows are left out, so an anomaly does not raise its own threshold;
//! the fixed threshold is the lower limit. Until there are enough scores, quantiles of the
//! reference are used.

use std::collections::BTreeMap;

use contract::Timestamp;
use contract::rules::{Threshold, TrailingThreshold};

use crate::recent::Recent;

/// Parts of the history; only the first score of each part is kept, so the size of the state does
/// not depend on the step.
const PARTS: u16 = 240;

/// Fewest scores for the median; missing ones are taken from the reference.
const FEWEST: usize = 120;

/// Share of the reference's deviation that is always added, so that noise does not alarm after a
/// quiet day.
const DEVIATION_FLOOR: f64 = 0.05;

/// The threshold of one series of scores.
///
/// Scores are on the scale on which they are compared ([`crate::vote::Scale::forward`]).
#[derive(Debug, Clone, PartialEq)]
pub struct ThresholdRule {
    /// The fixed threshold, and the floor of a trailing one.
    fixed: f64,
    trailing: Option<TrailingThreshold>,
    deviation_floor: f64,
    /// Evenly spaced quantiles of the reference.
    prior: Vec<f64>,
}

/// State of a trailing threshold: the recent scores of one series, by entity.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ThresholdState {
    pub(crate) entities: BTreeMap<String, Recent>,
}

impl ThresholdRule {
    /// Makes the rule of a series: `fixed` is its fixed threshold, `spread` its usual deviation and
    /// `prior` its quantiles over the reference rows.
    pub fn new(threshold: &Threshold, fixed: f64, spread: f64, prior: &[f64]) -> Self {
        let trailing = match threshold {
            Threshold::Quantile(_) | Threshold::FalseAlarms(_) => None,
            Threshold::Trailing(trailing) => Some(trailing.clone()),
        };
        Self { fixed, trailing, deviation_floor: DEVIATION_FLOOR * spread, prior: prior.to_vec() }
    }

    /// Returns the threshold for an entity's next score.
    pub fn threshold_for(&self, state: &ThresholdState, entity: &str) -> f64 {
        let Some(trailing) = &self.trailing else { return self.fixed };
        let recent = state.entities.get(entity);
        let recent = recent.into_iter().flat_map(|recent| &recent.0);
        let mut scores: Vec<f64> = recent.map(|(_, score)| *score).collect();
        let missing = FEWEST.saturating_sub(scores.len());
        if !self.prior.is_empty() {
            let prior = (0..missing)
                .map(|index| self.prior[(2 * index + 1) * self.prior.len() / (2 * missing)]);
            scores.extend(prior);
        }
        if scores.is_empty() {
            return self.fixed;
        }
        let centre = median(&mut scores);
        scores.iter_mut().for_each(|score| *score = (*score - centre).abs());
        let deviation = 1.4826 * median(&mut scores) + self.deviation_floor;
        self.fixed.max(centre + trailing.times * deviation)
    }

    /// Adds a scored window, if it may be learned.
    pub fn observe(
        &self,
        state: &mut ThresholdState,
        entity: &str,
        time: Timestamp,
        judged: Judged,
    ) {
        let Some(trailing) = &self.trailing else { return };
        let part = (trailing.history.ms() / i64::from(PARTS)).max(1);
        let oldest = time.ms().saturating_sub(trailing.history.ms());
        if let Some(Recent(recent)) = state.entities.get_mut(entity) {
            while recent.front().is_some_and(|(time, _)| *time <= oldest) {
                recent.pop_front();
            }
        }
        if judged.alarmed || !judged.score.is_finite() {
            return;
        }
        if !state.entities.contains_key(entity) {
            state.entities.insert(entity.to_owned(), Recent::default());
        }
        let Some(Recent(recent)) = state.entities.get_mut(entity) else { return };
        let same_part =
            |(last, _): &(i64, f64)| last.div_euclid(part) >= time.ms().div_euclid(part);
        if !recent.back().is_some_and(same_part) {
            recent.push_back((time.ms(), judged.score));
        }
        while recent.len() > usize::from(PARTS) + 1 {
            recent.pop_front();
        }
    }
}

impl ThresholdState {
    /// Drops entities whose last score is older than `time`, such as deleted pods.
    pub fn forget_before(&mut self, time: Timestamp) {
        self.entities.retain(|_, recent| recent.is_after(time));
    }
}

/// A score and the verdict of its window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The score, on the scale of the rule.
    pub score: f64,
    /// Whether the window is anomalous.
    pub alarmed: bool,
    /// Whether a score above the threshold would have made it anomalous: the gate is open.
    pub open: bool,
}

/// Returns the upper median; the values' order is lost.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use contract::rules::QuantileThreshold;
    use contract::{Span, Tensors};
    use proptest::prelude::*;

    use super::*;

    fn rule(fixed: f64) -> ThresholdRule {
        let history = Span::from_seconds(86_400);
        let threshold = Threshold::Trailing(TrailingThreshold { history, times: 4.0, share: 0.99 });
        let prior: Vec<f64> = (0..=100).map(|step| f64::from(step) / 100.0).collect();
        ThresholdRule::new(&threshold, fixed, 0.3, &prior)
    }

    fn minute(number: usize) -> Timestamp {
        Timestamp::from_ms(i64::try_from(number).unwrap() * 60_000)
    }

    fn run(
        rule: &ThresholdRule,
        state: &mut ThresholdState,
        scores: &[f64],
        first: usize,
    ) -> Vec<f64> {
        let judge = |(index, score): (usize, &f64)| {
            let threshold = rule.threshold_for(state, "node");
            let judged = Judged { score: *score, alarmed: *score > threshold, open: true };
            rule.observe(state, "node", minute(first + index), judged);
            threshold
        };
        scores.iter().enumerate().map(judge).collect()
    }

    #[test]
    fn a_fixed_threshold_stays_and_remembers_nothing() {
        let rule = ThresholdRule::new(
            &Threshold::Quantile(QuantileThreshold { share: 0.99 }),
            2.0,
            1.0,
            &[],
        );
        let mut state = ThresholdState::default();
        assert!(
            run(&rule, &mut state, &[1.0, 9.0, 1.0], 0).iter().all(|threshold| *threshold == 2.0)
        );
        assert_eq!(state, ThresholdState::default());
    }

    #[test]
    fn the_threshold_follows_drift_and_falls_back_to_its_floor() {
        let rule = rule(1.0);
        let mut state = ThresholdState::default();
        let before = rule.threshold_for(&state, "node");
        let drifted: Vec<f64> = (0..2000).map(|index| 1.5 + f64::from(index % 7) / 20.0).collect();
        let thresholds = run(&rule, &mut state, &drifted, 0);
        let quiet: Vec<f64> = (0..2000).map(|index| f64::from(index % 7) / 100.0).collect();
        let after = run(&rule, &mut state, &quiet, 2000);
        assert!(
            thresholds[1999] > 1.8 && thresholds[1999] < before.max(4.0),
            "{}",
            thresholds[1999]
        );
        assert_eq!(after[1999], 1.0, "never below the fixed threshold");
    }

    #[test]
    fn alarmed_windows_teach_nothing() {
        let rule = rule(1.0);
        let mut state = ThresholdState::default();
        run(&rule, &mut state, &[0.5; 500], 0);
        let before = rule.threshold_for(&state, "node");
        run(&rule, &mut state, &[1000.0; 200], 500);
        assert!((rule.threshold_for(&state, "node") - before).abs() < 0.2);
    }

    #[test]
    fn the_state_is_bounded() {
        let rule = rule(1e9);
        let mut state = ThresholdState::default();
        run(&rule, &mut state, &vec![0.5; 10_000], 0);
        assert!(state.entities["node"].0.len() <= 241);
    }

    proptest! {
        #[test]
        fn replaying_from_a_state_gives_the_same_bytes(
            scores in prop::collection::vec(-1.0..6.0_f64, 1..400),
            cut in 0.0..1.0_f64,
        ) {
            let rule = rule(1.0);
            let mut whole = ThresholdState::default();
            let thresholds = run(&rule, &mut whole, &scores, 0);
            let at = crate::reference::whole(cut * scores.len() as f64);
            let mut state = ThresholdState::default();
            run(&rule, &mut state, &scores[..at], 0);
            let mut tensors = Tensors::default();
            tensors.insert_records("thresholds", &state.entities).unwrap();
            let mut tensors = Tensors::decode("", &tensors.encode("").unwrap()).unwrap();
            let mut state = ThresholdState { entities: tensors.take_records("thresholds").unwrap() };
            prop_assert_eq!(&run(&rule, &mut state, &scores[at..], at), &thresholds[at..]);
            prop_assert_eq!(state, whole);
        }
    }
}
