//! Whole numbers and quantiles.

/// Returns the whole number at or below a number that is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast stops at the bounds of the type, which is what is meant"
)]
pub fn whole(number: f64) -> usize {
    number.floor() as usize
}

/// Returns the quantile of sorted values at a level in 0..=1, interpolated linearly between them
/// as numpy does it; 0 without values.
pub fn quantile(sorted: &[f64], level: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let position = level.clamp(0.0, 1.0) * last as f64;
    let below = whole(position).min(last);
    let above = (below + 1).min(last);
    let part = position - below as f64;
    // Between equal values there must be no rounding error: a threshold on a plateau is exactly the
    // plateau.
    if sorted[below] >= sorted[above] || part <= 0.0 {
        return sorted[below];
    }
    // Rounding may leave it a bit outside.
    (sorted[below] * (1.0 - part) + sorted[above] * part).max(sorted[below]).min(sorted[above])
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0, .1, .5, .9, 1])
        let sorted = [1.0, 2.0, 4.0, 8.0];
        for (level, expected) in [(0.0, 1.0), (0.1, 1.3), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)] {
            assert!((quantile(&sorted, level) - expected).abs() < 1e-12, "{level}");
        }
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
