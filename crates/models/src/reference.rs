//! Quantiles of the features and scores of the calibration rows.
//!
//! `reference.json` has three uses: the share of reference rows that score lower (calibration), the
//! usual range of a feature (explanations), and the distance of the last day from training (drift).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use contract::{StepError, artifact};
pub use detectors::numbers::{quantile, whole};
use serde::{Deserialize, Serialize};

/// Levels of a sketch in addition to the evenly spaced ones, because the ends of score
/// distributions matter.
const TAILS: [f64; 3] = [0.0005, 0.001, 0.002];
const EVEN: u32 = 256;

static LEVELS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let even = (0..=EVEN).map(|step| f64::from(step) / f64::from(EVEN));
    let tails = TAILS.into_iter().flat_map(|tail| [tail, 1.0 - tail]);
    let mut levels: Vec<f64> = even.chain(tails).collect();
    levels.sort_unstable_by(f64::total_cmp);
    levels
});

/// Returns the levels of every sketch's quantiles: 0, 1/256, ... 1, and more at both ends.
pub fn levels() -> &'static [f64] {
    &LEVELS
}

/// Quantiles of one column or score over the reference rows.
///
/// ```
/// use models::Sketch;
///
/// let scores: Vec<f64> = (0..=1000).map(f64::from).collect();
/// let sketch = Sketch::of(&scores);
/// assert!((sketch.share_below(250.0) - 0.25).abs() < 0.01);
/// assert_eq!(sketch.share_below(f64::NAN), 1.0, "what cannot be compared is not usual");
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sketch {
    /// Rows with a value.
    pub count: u64,
    /// Share of rows without one.
    pub gap_ratio: f64,
    /// A value for each of the reference's levels, in ascending order; empty without any value.
    pub quantiles: Vec<f64>,
}

impl Sketch {
    /// Makes the sketch of some values; non-finite values count as gaps.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted: Vec<f64> =
            values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let gaps = (values.len() - sorted.len()) as f64;
        let levels = levels().iter().filter(|_| !sorted.is_empty());
        // Between neighbours that differ by a bit or two, rounding may let a quantile fall.
        let mut highest = f64::NEG_INFINITY;
        let quantiles = levels.map(|level| {
            highest = quantile(&sorted, *level).max(highest);
            highest
        });
        let quantiles = quantiles.collect();
        Self { count: sorted.len() as u64, gap_ratio: gaps / values.len().max(1) as f64, quantiles }
    }

    /// Returns the share of the reference rows below a value, 0 to 1; it is monotonic. Above the
    /// maximum it is 1; it is also 1 for `NaN`, which cannot be compared and counts as unusual.
    pub fn share_below(&self, value: f64) -> f64 {
        let at = self.quantiles.partition_point(|quantile| *quantile < value);
        if value.is_nan() || at == self.quantiles.len() {
            return 1.0;
        }
        let Some(before) = at.checked_sub(1) else { return 0.0 };
        let (low, high) = (self.quantiles[before], self.quantiles[at]);
        let part = ((value - low) / (high - low)).clamp(0.0, 1.0);
        levels()[before] + part * (levels()[at] - levels()[before])
    }

    /// Returns the value at a level, 0 to 1; 0 without any value.
    pub fn at(&self, level: f64) -> f64 {
        let above = levels().partition_point(|known| *known < level);
        let get = |index: usize| self.quantiles.get(index).copied();
        let (Some(high), Some(low)) = (get(above), get(above.saturating_sub(1))) else {
            return self.quantiles.last().copied().unwrap_or(0.0);
        };
        let (from, to) = (levels()[above.saturating_sub(1)], levels()[above]);
        if to <= from || low >= high {
            high
        } else {
            low + (high - low) * (level - from) / (to - from)
        }
    }

    /// Returns mean and standard deviation of the values, estimated from their quantiles; `None`
    /// without any value.
    pub fn moments(&self) -> Option<(f64, f64)> {
        // Far from 0 the difference of two squares would have no digits left.
        let centre = self.quantiles.get(self.quantiles.len() / 2).copied()?;
        let (mut mean, mut square) = (0.0, 0.0);
        for (pair, level) in self.quantiles.windows(2).zip(levels().windows(2)) {
            let (&[low, high], &[from, to]) = (pair, level) else { continue };
            let (low, high, share) = (low - centre, high - centre, to - from);
            mean += share * f64::midpoint(low, high);
            square += share * (low * low + low * high + high * high) / 3.0;
        }
        Some((centre + mean, (square - mean * mean).max(0.0).sqrt()))
    }

    fn is_sound(&self) -> bool {
        let complete = self.quantiles.is_empty() || self.quantiles.len() == levels().len();
        let finite = self.quantiles.iter().all(|value| value.is_finite());
        complete && finite && self.quantiles.is_sorted() && (0.0..=1.0).contains(&self.gap_ratio)
    }
}

/// A feature and its sketch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSketch {
    /// The feature.
    pub name: String,
    /// Its values over the reference rows.
    pub sketch: Sketch,
}

/// A score's sketch, with its median and deviation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreSketch {
    /// The score over the reference rows, not transformed.
    pub sketch: Sketch,
    /// Median of the score (of its logarithm, for a score of ratio scale).
    pub centre: f64,
    /// 1.4826 times its median absolute deviation, kept above 0.
    pub spread: f64,
}

/// `reference.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Version of this format.
    pub format: u32,
    /// Rows it was made of.
    pub rows: u64,
    /// Levels of every sketch's quantiles.
    pub levels: Vec<f64>,
    /// The features, in the order of the contract.
    pub features: Vec<FeatureSketch>,
    /// Decision scores, by kind of model.
    pub members: BTreeMap<String, ScoreSketch>,
    /// Weighted mean of the standardised scores, smoothed as the vote says.
    pub combined: ScoreSketch,
}

impl Reference {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
    /// Name of the file in a bundle.
    pub const FILE: &str = "reference.json";

    /// Reads the file's bytes; an invalid file is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, StepError> {
        let reference: Self = artifact::parse_json(Self::FILE, bytes)?;
        let refused = |what: &str| Err(StepError::damaged(format!("`{}` {what}", Self::FILE)));
        if reference.format != Self::FORMAT {
            return refused(&format!(
                "has format {}, this version reads {}",
                reference.format,
                Self::FORMAT
            ));
        }
        if reference.levels != levels() {
            return refused("has other quantile levels than this version reads");
        }
        let scores = reference.members.values().chain([&reference.combined]);
        let features = reference.features.iter().map(|feature| &feature.sketch);
        let sketches = features.chain(scores.clone().map(|score| &score.sketch));
        if !sketches.into_iter().all(Sketch::is_sound) {
            return refused("holds quantiles that are not finite, not complete or not in order");
        }
        if !scores.into_iter().all(|score| score.centre.is_finite() && score.spread > 0.0) {
            return refused("holds a score without a spread");
        }
        Ok(reference)
    }

    /// Returns the file's bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StepError> {
        let mut bytes = serde_json::to_vec(self)
            .map_err(|e| StepError::bug(format!("cannot write `{}`: {e}", Self::FILE)))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Returns a feature's sketch.
    pub fn feature(&self, name: &str) -> Option<&Sketch> {
        self.features.iter().find(|feature| feature.name == name).map(|feature| &feature.sketch)
    }

    /// Returns the share of the reference rows that a member scored lower, 0 to 1; 1 for a member
    /// that is not known.
    pub fn calibrated(&self, kind: &str, decision: f64) -> f64 {
        self.members.get(kind).map_or(1.0, |score| score.sketch.share_below(decision))
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn score_on_a_plateau_is_calibrated_below_the_plateau() {
        let sketch = Sketch::of(&[0.0, 1.0, 1.0, 1.0, 2.0]);
        assert!(sketch.share_below(1.0) <= 0.25);
        assert!(sketch.share_below(1.0 + 1e-9) >= 0.75);
        assert_eq!(sketch.share_below(2.1), 1.0);
        assert_eq!(sketch.share_below(0.0), 0.0);
        assert_eq!(sketch.share_below(f64::NAN), 1.0, "what cannot be compared is not usual");
    }

    #[test]
    fn a_sketch_without_values_calls_everything_unusual() {
        let sketch = Sketch::of(&[f64::NAN, f64::INFINITY]);
        assert_eq!((sketch.count, sketch.gap_ratio, sketch.share_below(0.0)), (0, 1.0, 1.0));
    }

    #[test]
    fn moments_are_those_of_the_values_also_far_from_zero() {
        for far in [0.0, 1e9] {
            let values: Vec<f64> =
                (0..5000_i32).map(|row| far + f64::from(row * row % 977)).collect();
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count;
            let spread = values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / count;
            let (found, deviation) = Sketch::of(&values).moments().unwrap();
            assert!((found - mean).abs() < 1.0, "{found} {mean}");
            assert!((deviation / spread.sqrt() - 1.0).abs() < 0.01, "{deviation} {spread}");
        }
        assert_eq!(Sketch::of(&[3.0; 9]).moments(), Some((3.0, 0.0)));
        assert_eq!(Sketch::of(&[]).moments(), None);
    }

    #[test]
    fn quantiles_of_values_that_differ_by_a_bit_do_not_fall() {
        for start in [33.125, 0.1, 26.2 / 3.0, 1e15 + 0.3, -7e-9, 1e-310] {
            let neighbours = [start, f64::next_up(start), f64::next_up(f64::next_up(start))];
            let values: Vec<f64> = (0..97).map(|row| neighbours[row * 3 / 97]).collect();
            assert!(Sketch::of(&values).is_sound(), "{start}");
        }
    }

    proptest! {
        #[test]
        fn calibration_never_falls(
            mut values in prop::collection::vec(-10.0..10.0_f64, 1..300),
            mut scores in prop::collection::vec(-12.0..12.0_f64, 2..50),
        ) {
            let sketch = Sketch::of(&values);
            scores.extend_from_slice(&values);
            scores.sort_unstable_by(f64::total_cmp);
            let shares: Vec<f64> = scores.iter().map(|score| sketch.share_below(*score)).collect();
            prop_assert!(shares.is_sorted());
            prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
            values.reverse();
            prop_assert_eq!(Sketch::of(&values), sketch, "the order of rows is irrelevant");
        }

        #[test]
        fn calibration_is_the_share_of_rows_below(values in prop::collection::vec(0.0..1.0_f64, 1000)) {
            let sketch = Sketch::of(&values);
            for score in [0.1, 0.5, 0.9, 0.99] {
                let below = values.iter().filter(|value| **value < score).count() as f64 / 1000.0;
                prop_assert!((sketch.share_below(score) - below).abs() < 0.01);
            }
        }
    }
}
