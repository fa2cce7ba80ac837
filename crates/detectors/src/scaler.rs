//! Scalers that are safe for constant columns, gaps and infinities.

use contract::StepError;
use ndarray::{Array2, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Tensors;

/// Scaling of a model's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Training minimum to 0, training maximum to 1.
    MinMax,
    /// Training mean to 0, training standard deviation to 1.
    ZScore,
    /// Training median to 0, training interquartile range to 1.
    Robust,
}

/// Values beyond this count as infinite, because their squares would overflow.
const LARGEST: f64 = 1e150;

/// Limit of scaled values, so that all computations with them stay finite.
const LARGEST_SCALED: f64 = 1e9;

/// Scales each column by `(value - offset) * factor`.
///
/// A gap, an infinity and a value beyond 1e150 are replaced by the training median, in fitting and
/// in use. A constant column scales to 0 at its constant; another value is measured in tenths of
/// the constant (at least in units of 0.1). With [`Scaling::Robust`] a column whose quartiles are
/// equal though it is not constant is measured by its standard deviation. A column without any value in training always scales to
/// 0. Scaled values lie in -1e9..1e9.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaler {
    offset: Vec<f64>,
    factor: Vec<f64>,
    fill: Vec<f64>,
}

/// The finite values of one training column, sorted.
struct ColumnSummary {
    sorted: Vec<f64>,
    mean: f64,
    deviation: f64,
}

/// Turns the bits of a number into a whole number of the order of [`f64::total_cmp`], and back.
fn turned(bits: u64) -> i64 {
    let bits = bits.cast_signed();
    bits ^ ((bits >> 63) & i64::MAX)
}

/// Returns the present values, in ascending order.
pub fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    // As whole numbers of the same order they are sorted three times as fast.
    let mut keys: Vec<i64> =
        values.filter(|value| is_there(*value)).map(|value| turned(value.to_bits())).collect();
    keys.sort_unstable();
    let values = keys.into_iter().map(|key| turned(key.cast_unsigned()).cast_unsigned());
    values.map(f64::from_bits).collect()
}

impl ColumnSummary {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let sorted = sorted(values);
        // Summed in sorted order, so that the result does not depend on the order of the rows.
        let count = sorted.len().max(1) as f64;
        let mean = sorted.iter().sum::<f64>() / count;
        let squares: f64 = sorted.iter().map(|value| (value - mean).powi(2)).sum();
        Self { sorted, mean, deviation: (squares / count).sqrt() }
    }

    /// Linear interpolation between the order statistics, as numpy's `quantile` does it.
    fn quantile(&self, level: f64) -> f64 {
        crate::numbers::quantile(&self.sorted, level)
    }

    fn offset_and_spread(&self, scaling: Scaling) -> (f64, f64) {
        match scaling {
            Scaling::MinMax => (self.quantile(0.0), self.quantile(1.0) - self.quantile(0.0)),
            Scaling::ZScore => (self.mean, self.deviation),
            Scaling::Robust => {
                let range = self.quantile(0.75) - self.quantile(0.25);
                let spread = if self.is_constant(range) { self.deviation } else { range };
                (self.quantile(0.5), spread)
            }
        }
    }

    /// A spread this small against the values is rounding noise.
    fn is_constant(&self, spread: f64) -> bool {
        let largest = self.quantile(0.0).abs().max(self.quantile(1.0).abs());
        spread <= largest * 1e-12
    }
}

/// Rounds a number to single precision, in which the trees, networks and kernels compute.
#[expect(clippy::cast_possible_truncation, reason = "the rounding is what it is for")]
pub fn single(value: f64) -> f32 {
    value as f32
}

/// Returns whether a value is one: no gap, no infinity, and not beyond 1e150.
pub fn is_there(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// Without branches, so that a compiler can do several at once.
#[inline]
fn scaled_value(value: f64, offset: f64, factor: f64, fill: f64) -> f64 {
    let value = if is_there(value) { value } else { fill };
    ((value - offset) * factor).clamp(-LARGEST_SCALED, LARGEST_SCALED)
}

impl Scaler {
    /// Learns a scaler from rows of shape (rows, columns).
    pub fn fit(rows: ArrayView2<'_, f64>, scaling: Scaling) -> Self {
        Self::fit_with(rows, scaling, 0.0)
    }

    /// Learns a z-score scaler whose standard deviations are at least `min_deviation`, in the
    /// columns' own units.
    pub fn fit_z_score(rows: ArrayView2<'_, f64>, min_deviation: f64) -> Self {
        Self::fit_with(rows, Scaling::ZScore, min_deviation)
    }

    fn fit_with(rows: ArrayView2<'_, f64>, scaling: Scaling, min_spread: f64) -> Self {
        let columns = rows.ncols();
        let [mut offset, mut factor, mut fill] = [(); 3].map(|()| Vec::with_capacity(columns));
        for column in rows.columns() {
            let summary = ColumnSummary::of(column.iter().copied());
            let (centre, spread) = summary.offset_and_spread(scaling);
            let median = summary.quantile(0.5);
            if summary.sorted.is_empty() {
                offset.push(0.0);
                factor.push(0.0);
                fill.push(0.0);
                continue;
            }
            let constant = summary.is_constant(spread) && min_spread <= 0.0;
            offset.push(if summary.is_constant(spread) { median } else { centre });
            let spread = if constant { 0.1 * median.abs().max(1.0) } else { spread };
            factor.push(1.0 / spread.max(min_spread));
            fill.push(median);
        }
        Self { offset, factor, fill }
    }

    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.offset.len()
    }

    /// Returns the value that replaces a gap of a column.
    pub fn fill(&self) -> &[f64] {
        &self.fill
    }

    /// Returns the columns that had no value in training.
    pub fn empty_columns(&self) -> Vec<usize> {
        let factors = self.factor.iter().enumerate();
        factors.filter(|(_, factor)| **factor <= 0.0).map(|(column, _)| column).collect()
    }

    /// Scales one value of a column; the column must be one of [`Scaler::columns`].
    pub fn scale(&self, column: usize, value: f64) -> f64 {
        scaled_value(value, self.offset[column], self.factor[column], self.fill[column])
    }

    /// Scales whole rows, one after another in `rows`, into as many values of `scaled`.
    pub(crate) fn scale_rows<T>(&self, rows: &[f64], scaled: &mut [T], cast: impl Fn(f64) -> T) {
        let columns = self.columns().max(1);
        for (row, target) in rows.chunks_exact(columns).zip(scaled.chunks_exact_mut(columns)) {
            let numbers = self.offset.iter().zip(&self.factor).zip(&self.fill);
            for ((value, slot), ((offset, factor), fill)) in row.iter().zip(target).zip(numbers) {
                *slot = cast(scaled_value(*value, *offset, *factor, *fill));
            }
        }
    }

    /// Returns scaled rows of the same shape.
    pub fn transform(&self, rows: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut scaled = rows.to_owned();
        for mut row in scaled.rows_mut() {
            for (column, value) in row.iter_mut().enumerate() {
                *value = self.scale(column, *value);
            }
        }
        scaled
    }

    pub(crate) fn write(&self, tensors: &mut Tensors) {
        for (name, values) in
            [("offset", &self.offset), ("factor", &self.factor), ("fill", &self.fill)]
        {
            tensors.insert_f64(&format!("scaler.{name}"), &[values.len()], values.clone());
        }
    }

    pub(crate) fn read(tensors: &mut Tensors) -> Result<Self, StepError> {
        let columns = tensors.length("scaler.offset")?;
        if columns == 0 {
            return Err(StepError::damaged("tensor `scaler.offset` has no columns"));
        }
        let mut take = |name: &str| tensors.take_f64(&format!("scaler.{name}"), &[columns]);
        let scaler = Self { offset: take("offset")?, factor: take("factor")?, fill: take("fill")? };
        let tame = |values: &[f64]| values.iter().all(|value| is_there(*value));
        if !tame(&scaler.offset) || !tame(&scaler.fill) || scaler.factor.iter().any(|f| *f < 0.0) {
            return Err(StepError::damaged("the scaler's numbers are out of range"));
        }
        Ok(scaler)
    }
}
