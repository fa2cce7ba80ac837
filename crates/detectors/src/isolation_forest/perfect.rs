//! Trees in a layout for scoring many rows: filled up to perfect trees of eight levels.
//!
//! Three things make it fast, and none changes a bit of a score. Children follow from the place of
//! their parent, so a node is eight bytes and a walk has no branch. Scaled values become whole
//! numbers of the same order, which compare without leaving the general registers. And the first
//! three levels, which every row passes, are answered column by column for a whole block of rows
//! (as in Lucchese and others: `QuickScorer`, SIGIR 2015), several rows an instruction.

use super::{Step, Walk};
use crate::Scaler;
use crate::scaler::single;

/// Levels of a tree: samples of 256 rows need no more.
const LEVELS: usize = 8;

/// Places of the splits, from 1 on (0 is unused), and as many leaves.
const PLACES: usize = 1 << LEVELS;

/// Rows of a block.
pub(super) const ROWS: usize = 128;

/// Rows that walk down a tree side by side, so that their memory accesses overlap.
const LANES: usize = 8;

/// Levels answered for a whole block.
const TOP_LEVELS: usize = 3;

/// Place on the first level below the top, by the answers of the top's splits.
const BELOW_TOP: [u8; 1 << TOP_SPLITS] = below_top();

const TOP_SPLITS: usize = (1 << TOP_LEVELS) - 1;

const fn below_top() -> [u8; 1 << TOP_SPLITS] {
    let mut places = [0; 1 << TOP_SPLITS];
    let mut answers = 0;
    while answers < places.len() {
        let (mut place, mut level) = (1_u8, 0);
        while level < TOP_LEVELS {
            let right = answers >> (place - 1) & 1 == 1;
            place = 2 * place + right as u8;
            level += 1;
        }
        places[answers] = place;
        answers += 1;
    }
    places
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Split {
    threshold: i32,
    column: u32,
}

/// A tree whose root is at place 1 and the children of place `n` at `2 n` and `2 n + 1`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PerfectTree {
    splits: [Split; PLACES],
    lengths: [f64; PLACES],
}

/// Scaled values of [`ROWS`] rows as [`key`]s, row by row and column by column. `WIDTH` is a power
/// of two and not below the number of columns.
pub(super) struct Block<const WIDTH: usize> {
    rows: Vec<[i32; WIDTH]>,
    columns: Vec<[i32; ROWS]>,
}

/// Returns a whole number that is larger where the value is larger; both zeros have the same.
fn key(value: f32) -> i32 {
    let bits = (value + 0.0).to_bits().cast_signed();
    bits ^ ((bits >> 31).cast_unsigned() >> 1).cast_signed()
}

impl PerfectTree {
    /// Fills a tree up; `None` if one of its paths is longer than [`LEVELS`].
    pub(super) fn of(walk: &Walk) -> Option<Self> {
        if walk.depth > LEVELS {
            return None;
        }
        let mut tree = Self { splits: [Split::default(); PLACES], lengths: [0.0; PLACES] };
        let mut origins = [0_u32; 2 * PLACES];
        for place in 1..PLACES {
            let origin = origins[place];
            let Step { threshold, feature, next } = walk.steps[origin as usize];
            tree.splits[place] = Split { threshold: key(threshold), column: feature };
            // No value is above a leaf's threshold, so its right side is never reached.
            origins[2 * place] = next;
            origins[2 * place + 1] = if next == origin { next } else { next + 1 };
        }
        for (length, origin) in tree.lengths.iter_mut().zip(&origins[PLACES..]) {
            *length = walk.lengths[*origin as usize];
        }
        Some(tree)
    }

    /// Adds the path length of each row of a block to its sum; `sums` has [`ROWS`] items.
    pub(super) fn add_lengths<const WIDTH: usize>(&self, block: &Block<WIDTH>, sums: &mut [f64]) {
        let mut answers = [0_u32; ROWS];
        for (bit, split) in self.splits[1..=TOP_SPLITS].iter().enumerate() {
            let column = &block.columns[split.column as usize % WIDTH];
            for (answers, value) in answers.iter_mut().zip(column) {
                *answers |= u32::from(*value > split.threshold) << bit;
            }
        }
        let groups = block.rows.chunks_exact(LANES).zip(answers.chunks_exact(LANES));
        for ((rows, answers), sums) in groups.zip(sums.chunks_exact_mut(LANES)) {
            let mut places = [0_usize; LANES];
            for (place, answers) in places.iter_mut().zip(answers) {
                *place = usize::from(BELOW_TOP[*answers as usize % BELOW_TOP.len()]);
            }
            for _ in TOP_LEVELS..LEVELS {
                for (place, row) in places.iter_mut().zip(rows) {
                    // The remainders only prove that the index is in bounds.
                    let split = self.splits[*place % PLACES];
                    let value = row[split.column as usize % WIDTH];
                    *place = 2 * *place + usize::from(value > split.threshold);
                }
            }
            for (sum, place) in sums.iter_mut().zip(places) {
                *sum += self.lengths[place % PLACES];
            }
        }
    }
}

impl<const WIDTH: usize> Block<WIDTH> {
    pub(super) fn new() -> Self {
        Self { rows: vec![[0; WIDTH]; ROWS], columns: vec![[0; ROWS]; WIDTH] }
    }

    /// Takes [`ROWS`] unscaled rows, one after another.
    pub(super) fn fill(&mut self, rows: &[f64], scaler: &Scaler) {
        let columns = scaler.columns();
        let targets = rows.chunks_exact(columns).zip(&mut self.rows).enumerate();
        for (number, (row, target)) in targets {
            let target = &mut target[..columns];
            scaler.scale_rows(row, target, |value| key(single(value)));
            for (column, value) in self.columns.iter_mut().zip(target) {
                column[number % ROWS] = *value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_in_the_order_of_the_values(a in any::<f32>(), b in any::<f32>()) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(a > b, key(a) > key(b));
            prop_assert_eq!(a < b, key(a) < key(b));
        }
    }

    #[test]
    fn the_two_zeros_and_the_infinities_keep_their_order() {
        assert_eq!(key(0.0), key(-0.0));
        assert!(key(f32::MAX) < key(f32::INFINITY) && key(f32::NEG_INFINITY) < key(f32::MIN));
        assert!(key(-f32::MIN_POSITIVE) < key(0.0) && key(0.0) < key(f32::from_bits(1)));
    }
}
