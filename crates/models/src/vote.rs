//! How the members' scores become one verdict.

use std::collections::BTreeMap;

use contract::rules::Vote;
use contract::{Decimal, Span, Timestamp};

use crate::recent::Recent;
use crate::reference::{self, ScoreSketch, Sketch};

/// Added to a score of ratio scale before its logarithm is taken.
const SMALLEST: f64 = 1e-12;

/// How a decision score is compared and averaged: directly, or by its logarithm if it spans orders
/// of magnitude ([`crate::Detector::is_ratio_scaled`]); then in usual deviations (1.4826 times the
/// median absolute deviation) from the reference's median.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Whether the logarithm is used.
    pub logarithmic: bool,
    /// Median of the reference.
    pub centre: f64,
    /// Deviation of the reference.
    pub spread: f64,
}

impl Scale {
    /// Returns the number that is compared: the score or its logarithm.
    pub fn forward(&self, decision: f64) -> f64 {
        if self.logarithmic { (decision.max(0.0) + SMALLEST).ln() } else { decision }
    }

    /// Returns the decision score of a compared number.
    pub fn backward(&self, value: f64) -> f64 {
        if self.logarithmic { (value.exp() - SMALLEST).clamp(0.0, f64::MAX) } else { value }
    }

    /// Returns how many usual deviations a decision score lies above the reference's median.
    pub fn standardised(&self, decision: f64) -> f64 {
        (self.forward(decision) - self.centre) / self.spread
    }

    /// Learns the scale of a reference's scores.
    pub fn of(logarithmic: bool, decisions: &[f64]) -> Self {
        let mut scale = Self { logarithmic, centre: 0.0, spread: 1.0 };
        let mut values: Vec<f64> =
            decisions.iter().map(|decision| scale.forward(*decision)).collect();
        values.sort_unstable_by(f64::total_cmp);
        scale.centre = reference::quantile(&values, 0.5);
        let mut deviations: Vec<f64> = values.iter().map(|v| (v - scale.centre).abs()).collect();
        deviations.sort_unstable_by(f64::total_cmp);
        let usual = 1.4826 * reference::quantile(&deviations, 0.5);
        // If more than half of the scores are equal, the deviation is that of the wider half.
        let wide = 0.05 * reference::quantile(&deviations, 0.99);
        scale.spread = usual.max(wide).max(1e-3 * scale.centre.abs()).max(1e-6);
        scale
    }

    /// Returns the scale with the sketch it belongs to, for the reference file.
    pub fn with_sketch(self, decisions: &[f64]) -> ScoreSketch {
        ScoreSketch { sketch: Sketch::of(decisions), centre: self.centre, spread: self.spread }
    }
}

/// Adds the weights of the members that voted, exactly.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use contract::rules::Vote;
/// use models::vote::votes;
///
/// let mut vote = Vote { alarm_at: "0.9".parse()?, ..Vote::default() };
/// vote.weights.insert("adaptive".to_owned(), "0.6".parse()?);
/// vote.weights.insert("z_score".to_owned(), "0.3".parse()?);
/// assert!(votes(&vote, ["adaptive", "z_score"]) >= vote.alarm_at);
/// # Ok(())
/// # }
/// ```
pub fn votes<'a>(vote: &Vote, voted: impl IntoIterator<Item = &'a str>) -> Decimal {
    voted.into_iter().map(|kind| vote.weight(kind)).sum()
}

/// Returns the weighted mean of the members' standardised scores; 0 if all weights are 0.
pub fn mean<'a>(vote: &Vote, scores: impl IntoIterator<Item = (&'a str, f64)>) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (kind, score) in scores {
        let weight = vote.weight(kind).to_f64();
        sum += weight * score;
        total += weight;
    }
    if total > 0.0 { sum / total } else { 0.0 }
}

/// The scores a trailing mean still needs, by entity.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Smoothing {
    pub(crate) entities: BTreeMap<String, Recent>,
}

/// Most scores of one entity that a trailing mean keeps.
const MOST_SMOOTHED: usize = 4096;

impl Smoothing {
    /// Adds a score and returns the mean of the entity's scores in `(time - span, time]`.
    pub fn add(&mut self, entity: &str, time: Timestamp, score: f64, span: Span) -> f64 {
        if span.ms() <= 0 {
            return score;
        }
        if !self.entities.contains_key(entity) {
            self.entities.insert(entity.to_owned(), Recent::default());
        }
        let Some(Recent(recent)) = self.entities.get_mut(entity) else { return score };
        let start = (time - span).ms();
        recent.retain(|(time, _)| *time > start);
        if recent.len() >= MOST_SMOOTHED {
            recent.pop_front();
        }
        recent.push_back((time.ms(), score));
        recent.iter().map(|(_, score)| score).sum::<f64>() / recent.len() as f64
    }

    /// Drops entities whose last score is older than `time`.
    pub fn forget_before(&mut self, time: Timestamp) {
        self.entities.retain(|_, recent| recent.is_after(time));
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use contract::rules::{Combine, QuantileThreshold, Threshold};

    use super::*;

    fn paper() -> Vote {
        let weights =
            [("autoencoder", "0.6"), ("isolation_forest", "0.3"), ("one_class_svm", "0.1")];
        let weights = weights.map(|(kind, weight)| (kind.to_owned(), weight.parse().unwrap()));
        Vote {
            combine: Combine::Votes,
            weights: weights.into(),
            learn_weights: false,
            best_by: None,
            alarm_at: "0.9".parse().unwrap(),
            smoothing: Span::ZERO,
            threshold: Threshold::Quantile(QuantileThreshold { share: 0.99 }),
        }
    }

    #[test]
    fn six_tenths_and_three_tenths_raise_the_alarm_at_nine_tenths() {
        let vote = paper();
        assert!(votes(&vote, ["autoencoder", "isolation_forest"]) >= vote.alarm_at);
        assert!(votes(&vote, ["autoencoder", "one_class_svm"]) < vote.alarm_at);
        assert!(votes(&vote, ["isolation_forest", "one_class_svm"]) < vote.alarm_at);
        assert_eq!(votes(&vote, []), Decimal::ZERO);
    }

    #[test]
    fn scale_is_invertible() {
        for logarithmic in [false, true] {
            let scale = Scale::of(logarithmic, &[0.1, 0.2, 0.4, 0.8, 9.0]);
            for decision in [0.0, 1e-3, 0.4, 100.0] {
                assert!((scale.backward(scale.forward(decision)) - decision).abs() < 1e-9);
            }
            assert_eq!(scale.standardised(0.4), 0.0, "the median is the middle");
        }
    }

    #[test]
    fn the_mean_is_weighted_and_the_trailing_mean_forgets() {
        let vote = paper();
        let mean =
            mean(&vote, [("autoencoder", 1.0), ("isolation_forest", 2.0), ("one_class_svm", 3.0)]);
        assert!((mean - 1.5).abs() < 1e-12);
        let mut smoothing = Smoothing::default();
        let mut add = |seconds: i64, score| {
            smoothing.add("a", Timestamp::from_ms(seconds * 1000), score, Span::from_seconds(120))
        };
        assert_eq!([add(0, 1.0), add(60, 3.0), add(120, 5.0), add(600, 7.0)], [1.0, 2.0, 4.0, 7.0]);
    }
}
