//! The rows of training that were furthest from usual, and the distance of a row from them.
//!
//! Batch jobs and peak hours are far from the usual level, and normal. Such a state comes again. So
//! the score of a row is its distance from the mean or, if that is shorter, from the second nearest
//! of the extreme rows of training (the distance to the k-th nearest neighbour; Ramaswamy, Rastogi,
//! Shim: Efficient Algorithms for Mining Outliers from Large Data Sets, 2000). The nearest one alone
//! may have been a fault.

use contract::StepError;

use super::distance::{Distance, SMALLEST};
use crate::Tensors;

/// Most rows that are remembered.
pub const MOST_EXTREMES: usize = 256;

/// Which of the nearest rows counts: the second, so that a state must have occurred twice.
const NEIGHBOUR: usize = 2;

/// Rows of training that were far from usual: the furthest row of each hour.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extremes {
    /// Features of each, in single precision, as they are stored.
    rows: Vec<f32>,
    /// The smallest of their sums of squared features; smaller rows are not compared.
    least: f64,
    /// Scores are not reduced below it.
    floor: f64,
    /// Their features whitened and divided by their deviations.
    places: Vec<Place>,
}

/// The coordinates of a row for each of the two distances.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    whitened: Vec<f64>,
    scaled: Vec<f64>,
}

impl Extremes {
    /// Takes the features of the rows, one row after the other. With fewer than two rows there are no
    /// extremes.
    ///
    /// # Panics
    /// If a row does not have the features of the distance.
    pub fn new(distance: &Distance, rows: Vec<f32>) -> Self {
        let features = distance.features().max(1);
        if rows.len() < NEIGHBOUR * features {
            return Self::default();
        }
        let wide = |row: &[f32]| row.iter().copied().map(f64::from).collect::<Vec<f64>>();
        let each = || rows.chunks_exact(features).map(wide);
        let least = each().map(|row| size(&row)).fold(f64::INFINITY, f64::min);
        let places = each().map(|row| Place::of(distance, &row).0).collect();
        Self { rows, least, floor: f64::NEG_INFINITY, places }
    }

    /// Sets the floor of scores, in single precision. Thresholds have single precision, too, and a
    /// score at the floor must not exceed a threshold at the floor.
    #[must_use]
    pub fn with_floor(self, floor: f64) -> Self {
        Self { floor: f64::from(single(floor)), ..self }
    }

    /// Returns a score after a reduction (`nearer`, at most 0), but not below the floor.
    pub fn lowered(&self, score: f64, nearer: f64) -> f64 {
        score.min((score + nearer).max(self.floor))
    }

    /// Returns the difference between the score by the second nearest extreme and the score by the
    /// mean: at most 0, and 0 for a row that is nearer to usual than all extremes are. Only the
    /// extremes whose index `count` accepts are compared.
    ///
    /// # Panics
    /// If the row does not have the features of the distance.
    pub fn nearer(&self, distance: &Distance, row: &[f64], count: impl Fn(usize) -> bool) -> f64 {
        if self.places.is_empty() || size(row) < self.least {
            return 0.0;
        }
        let (own, absent) = Place::of(distance, row);
        let from_mean = Place::log_of(sum_of_squares(&own.whitened), sum_of_squares(&own.scaled));
        let mut nearest = [0.0_f64; NEIGHBOUR];
        for (_, place) in self.places.iter().enumerate().filter(|(index, _)| count(*index)) {
            let nearer = own.log_distance(place, &absent) - from_mean;
            let at = nearest.partition_point(|other| *other <= nearer);
            if at < NEIGHBOUR {
                nearest[at..].rotate_right(1);
                nearest[at] = nearer;
            }
        }
        nearest[NEIGHBOUR - 1]
    }

    pub(crate) fn write(&self, prefix: &str, features: usize, tensors: &mut Tensors) {
        if self.places.is_empty() {
            return;
        }
        let shape = [self.places.len(), features];
        tensors.insert_f32(&format!("{prefix}.rows"), &shape, self.rows.clone());
        tensors.insert_f64(&format!("{prefix}.floor"), &[1], vec![self.floor]);
    }

    pub(crate) fn read(
        prefix: &str,
        distance: &Distance,
        tensors: &mut Tensors,
    ) -> Result<Self, StepError> {
        let name = format!("{prefix}.rows");
        // Bundles of before have none.
        let Some(&[count, features]) = tensors.shape(&name) else { return Ok(Self::default()) };
        let refused = |name: &str| StepError::damaged(format!("tensor `{name}` is out of range"));
        if count > MOST_EXTREMES || features != distance.features() {
            return Err(refused(&name));
        }
        let rows = tensors.take_f32(&name, &[count, features])?;
        let floor = tensors.take_number(&format!("{prefix}.floor"))?;
        if !rows.iter().all(|value| value.abs() <= 1e6) || !(-1e3..=1e3).contains(&floor) {
            return Err(refused(&name));
        }
        Ok(Self::new(distance, rows).with_floor(floor))
    }
}

impl Place {
    /// Returns the place of a row, and its missing features.
    fn of(distance: &Distance, row: &[f64]) -> (Self, Vec<usize>) {
        let (whitened, scaled, absent) = distance.places(row);
        (Self { whitened, scaled }, absent)
    }

    /// Returns the score by the distance from another row. Missing features have their expected
    /// values, and do not add to the sum of squares.
    fn log_distance(&self, other: &Self, absent: &[usize]) -> f64 {
        let mut squares = squared_distance(&self.scaled, &other.scaled);
        for feature in absent {
            squares -= (self.scaled[*feature] - other.scaled[*feature]).powi(2);
        }
        Self::log_of(squared_distance(&self.whitened, &other.whitened), squares.max(0.0))
    }

    fn log_of(mahalanobis: f64, squares: f64) -> f64 {
        0.5 * ((mahalanobis + SMALLEST).ln() + (squares + SMALLEST).ln())
    }
}

/// Rounds to single precision.
#[expect(clippy::cast_possible_truncation, reason = "seven digits are what is kept")]
pub fn single(value: f64) -> f32 {
    value as f32
}

/// Returns the distance of a row from usual: the sum of its squared features, without missing ones.
pub fn size(features: &[f64]) -> f64 {
    features.iter().filter(|value| !value.is_nan()).map(|value| value * value).sum()
}

fn sum_of_squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

/// Returns the sum of squared differences, in an order that depends on the length alone.
fn squared_distance(left: &[f64], right: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a, b) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    let rest: f64 = rest.map(|(a, b)| (a - b) * (a - b)).sum();
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two features that do not depend on each other, with a deviation of 1.
    fn distance() -> Distance {
        Distance::new(vec![0.0, 0.0], vec![1.0, 1.0], vec![1.0, 0.0, 1.0]).unwrap()
    }

    fn nearer(extremes: &Extremes, row: [f64; 2]) -> f64 {
        extremes.nearer(&distance(), &row, |_| true)
    }

    #[test]
    fn row_is_as_near_as_to_the_second_nearest_extreme() {
        let extremes = Extremes::new(&distance(), vec![8.0, 0.0, 8.0, 1.0, 0.0, 9.0]);
        // 8 from the mean, 1 from the second nearest: both distances have the ratio 64.
        assert!((nearer(&extremes, [8.0, 0.0]) - (1.0_f64 / 64.0).ln()).abs() < 1e-6);
        // Twice there is nothing at (0, 9).
        assert_eq!(nearer(&extremes, [0.0, 9.0]).to_bits(), 0.0_f64.to_bits());
        // Below the least of them a row is no extreme.
        assert_eq!(nearer(&extremes, [7.9, 0.0]).to_bits(), 0.0_f64.to_bits());
        // Of the row that is left of the near ones, there is no second one.
        let one = extremes.nearer(&distance(), &[8.0, 0.0], |index| index > 0);
        assert_eq!(one.to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn score_is_lowered_to_the_floor_at_most_and_never_raised() {
        let extremes = Extremes::new(&distance(), vec![8.0, 0.0, 8.0, 1.0]).with_floor(2.0);
        for (score, nearer, lowered) in
            [(5.0, -1.0, 4.0), (5.0, -9.0, 2.0), (1.0, -9.0, 1.0), (5.0, 0.0, 5.0)]
        {
            assert!((extremes.lowered(score, nearer) - lowered).abs() < 1e-12, "{score} {nearer}");
        }
        let floor = extremes.with_floor(2.000_000_01).lowered(5.0, -9.0);
        assert_eq!(f64::from(single(floor)).to_bits(), floor.to_bits(), "as a peak is remembered");
    }

    #[test]
    fn missing_feature_is_not_compared() {
        let extremes = Extremes::new(&distance(), vec![8.0, 30.0, 8.0, 30.0]);
        let least = extremes.least;
        assert!((least - 964.0).abs() < 1e-9);
        let wide = Extremes { least: 0.0, ..extremes };
        let without = nearer(&wide, [9.0, f64::NAN]);
        // 81 to 1 by the sum of squares; 81 to 1 + 30^2 by the other distance, which is further.
        let expected = 0.5 * ((901.0_f64 / 81.0).ln() + (1.0_f64 / 81.0).ln());
        assert!((without - expected).abs() < 1e-6, "{without}");
    }

    #[test]
    fn extremes_read_back_are_those_written_and_one_alone_is_none() {
        let extremes = Extremes::new(&distance(), vec![8.0, 0.5, 8.0, 1.0]).with_floor(2.5);
        let mut tensors = Tensors::default();
        extremes.write("extremes", 2, &mut tensors);
        assert_eq!(Extremes::read("extremes", &distance(), &mut tensors).unwrap(), extremes);
        let nothing = Extremes::read("extremes", &distance(), &mut tensors).unwrap();
        assert_eq!(nothing, Extremes::default());
        assert_eq!(Extremes::new(&distance(), vec![8.0, 0.5]), Extremes::default());
        let mut tensors = Tensors::default();
        tensors.insert_f32("extremes.rows", &[2, 2], vec![1.0, f32::NAN, 1.0, 1.0]);
        tensors.insert_f64("extremes.floor", &[1], vec![1.0]);
        assert!(Extremes::read("extremes", &distance(), &mut tensors).is_err());
    }
}
