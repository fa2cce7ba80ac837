//! Comparison of scores: the score by which windows are ranked, and the rarity of a calibrated
//! score.

use contract::score::EntityScore;

/// Rarity of a score above every reference row's, and the top of its axis.
pub const NEVER_SEEN: f64 = 3.6;

/// Smallest share that a sketch can distinguish from 0: one row in two thousand.
const RAREST: f64 = 3.3;

/// Returns how rare a calibrated score is: the decimal logarithm of N, where one reference row in N
/// scored as high.
pub fn rarity(calibrated: f64) -> f64 {
    match calibrated {
        c if c >= 1.0 || c.is_nan() => NEVER_SEEN,
        c => (-(1.0 - c.max(0.0)).log10()).min(RAREST),
    }
}

/// Returns the score to rank an entity's windows by: the combined score if there is one, the score
/// of a single model, otherwise the mean of the models' calibrated scores.
pub fn rank(score: &EntityScore) -> f64 {
    if let [only] = score.members.as_slice() {
        return only.decision;
    }
    let mean = score.members.iter().map(|member| member.calibrated).sum::<f64>()
        / score.members.len().max(1) as f64;
    score.combined.map_or(mean, |combined| combined.score)
}
