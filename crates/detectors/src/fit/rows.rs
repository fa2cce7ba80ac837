//! Checks of rows and random numbers that all fitters share.

use ndarray::Array2;
use rand::RngCore;

use crate::fit::FitError;

/// Refuses rows that nothing can be learned from.
pub fn check(rows: &Array2<f64>, needed: usize) -> Result<(), FitError> {
    if rows.ncols() == 0 {
        return Err(FitError::NoColumns);
    }
    if rows.nrows() < needed {
        return Err(FitError::TooFewRows { found: rows.nrows(), needed });
    }
    if !rows.iter().any(|value| value.is_finite()) {
        return Err(FitError::NoValues);
    }
    Ok(())
}

/// Draws a number from 0 (included) to 1 (excluded), with 53 random bits.
pub fn uniform(random: &mut impl RngCore) -> f64 {
    (random.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// Draws a whole number below a bound that is not 0.
pub fn below(random: &mut impl RngCore, bound: usize) -> usize {
    // The high half of the product; the bias is below bound / 2^64.
    let wide = u128::from(random.next_u64()) * bound as u128;
    usize::try_from(wide >> 64).unwrap_or(0)
}

/// Draws from a normal distribution of mean 0 and deviation 1 (Box and Muller, 1958).
pub fn normal(random: &mut impl RngCore) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(random)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(random)).cos()
}

/// Shuffles items (Fisher and Yates, in Durstenfeld's version).
pub fn shuffle<T>(random: &mut impl RngCore, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(random, last + 1));
    }
}

/// Draws `count` different numbers below `bound`, in random order: the first items of a shuffle.
pub fn sample(random: &mut impl RngCore, bound: usize, count: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::with_capacity(count.min(bound));
    // Floyd's algorithm (Bentley, Floyd: Programming pearls, 1987) needs memory for the sample only.
    let mut taken = std::collections::HashSet::with_capacity(count.min(bound));
    for last in bound.saturating_sub(count)..bound {
        let drawn = below(random, last + 1);
        let item = if taken.insert(drawn) { drawn } else { last };
        taken.insert(item);
        chosen.push(item);
    }
    chosen
}
