//! A boundary around the normal rows (Schölkopf et al., Estimating the support of a
//! high-dimensional distribution, 2001), with a Gaussian kernel.

#[cfg(feature = "fit")]
pub mod fit;
pub mod settings;

use contract::StepError;
use ndarray::{ArrayView1, ArrayView2};

use crate::blocks::score_blocks;
use crate::detector::{Detector, Reader, shares};
use crate::scaler::single;
use crate::{Scaler, Tensors};

/// How the kind is read.
pub(crate) const READER: Reader = Reader::Rows(|tensors| Ok(Box::new(OneClassSvm::read(tensors)?)));

/// Support vectors whose distances are computed side by side.
pub const TILE: usize = 16;

/// Rows in tiles of [`TILE`], turned inside each tile: value of column c and lane l of a tile at
/// `c * TILE + l`. Distances to all rows of a tile then run over consecutive memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Tiles {
    columns: usize,
    rows: usize,
    values: Vec<f32>,
}

impl Tiles {
    /// Arranges rows that lie one after another; a tile that is not full is filled with zeros.
    pub fn new(rows: &[f32], columns: usize) -> Self {
        let count = rows.len() / columns.max(1);
        let mut values = vec![0.0; count.div_ceil(TILE) * TILE * columns];
        for (index, row) in rows.chunks_exact(columns.max(1)).enumerate() {
            let start = (index / TILE) * TILE * columns + index % TILE;
            for (column, value) in row.iter().enumerate() {
                values[start + column * TILE] = *value;
            }
        }
        Self { columns, rows: count, values }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Calls `each` with the number of each tile and the kernel values of its lanes:
    /// `exp(-gamma |row - lane|^2)`. Lanes beyond the last row hold a number without meaning.
    #[inline]
    pub fn kernel(&self, row: &[f32], gamma: f32, each: impl FnMut(usize, &[f32; TILE])) {
        self.kernel_of(0..self.rows.div_ceil(TILE), row, gamma, each);
    }

    /// Does what [`Tiles::kernel`] does for some of the tiles.
    #[inline]
    pub fn kernel_of(
        &self,
        tiles: std::ops::Range<usize>,
        row: &[f32],
        gamma: f32,
        mut each: impl FnMut(usize, &[f32; TILE]),
    ) {
        let size = TILE * self.columns.max(1);
        let values = &self.values[tiles.start * size..tiles.end * size];
        for (number, tile) in tiles.zip(values.chunks_exact(size)) {
            let mut lanes = [0.0_f32; TILE];
            for (value, column) in row.iter().zip(tile.chunks_exact(TILE)) {
                for (lane, other) in lanes.iter_mut().zip(column) {
                    let difference = value - other;
                    *lane += difference * difference;
                }
            }
            for lane in &mut lanes {
                *lane = exp_of_negative(-gamma * *lane);
            }
            each(number, &lanes);
        }
    }

    fn square_distance(&self, row: &[f32], other: usize) -> f64 {
        let start = (other / TILE) * TILE * self.columns + other % TILE;
        let values = row.iter().enumerate();
        values
            .map(|(column, value)| {
                let difference = f64::from(*value) - f64::from(self.values[start + column * TILE]);
                difference * difference
            })
            .sum()
    }

    fn value(&self, row: usize, column: usize) -> f32 {
        self.values[(row / TILE) * TILE * self.columns + column * TILE + row % TILE]
    }
}

/// Returns `e^x` for x at or below 0, with a relative error of about 1e-7; the result is at least
/// e^-87.
///
/// Branchless, so that the compiler computes several at once; after S. Moshier's Cephes `expf`.
#[inline]
pub fn exp_of_negative(x: f32) -> f32 {
    // Adding this number rounds to a whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Written so that an infinite distance (not a NaN) gives the lower limit.
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * LN_2_HIGH - whole * LN_2_LOW;
    let mut series = 1.987_569_1e-4_f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        series = series * rest + coefficient;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    (series * rest * rest + rest + 1.0) * power
}

/// Signed distance to the boundary, `rho - sum of coefficient * kernel`; above 0 is outside.
/// scikit-learn's `decision_function` with the sign turned.
///
/// Rows and support vectors are in single precision after scaling.
///
/// Attribution: the columns' parts of the squared distance to the support vectors, each weighted
/// by its pull `coefficient * kernel` on the row (which is, up to the factor 2 gamma, what the
/// gradient of the decision is made of); far outside this is the distance to the nearest ones.
#[derive(Debug, Clone, PartialEq)]
pub struct OneClassSvm {
    scaler: Scaler,
    gamma: f32,
    rho: f64,
    coefficients: Vec<f64>,
    /// Coefficients in single precision, padded with zeros to whole tiles.
    padded: Vec<f32>,
    vectors: Tiles,
}

impl OneClassSvm {
    /// Makes the detector; `vectors` holds the scaled support vectors one after another, with a
    /// coefficient each.
    pub fn new(
        scaler: Scaler,
        vectors: &[f32],
        coefficients: Vec<f64>,
        gamma: f64,
        rho: f64,
    ) -> Result<Self, StepError> {
        let refused =
            |what: &str| Err(StepError::damaged(format!("the support vector machine's {what}")));
        if coefficients.is_empty() || vectors.len() != coefficients.len() * scaler.columns() {
            return refused("vectors and coefficients do not fit together");
        }
        if !(gamma > 0.0 && gamma <= 1e30) {
            return refused("gamma is not a positive number");
        }
        if rho.abs() > 1e30 || coefficients.iter().any(|value| value.abs() > 1e30) {
            return refused("numbers are out of range");
        }
        let vectors = Tiles::new(vectors, scaler.columns());
        let mut padded: Vec<f32> = coefficients.iter().map(|value| single(*value)).collect();
        padded.resize(coefficients.len().div_ceil(TILE) * TILE, 0.0);
        Ok(Self { scaler, gamma: single(gamma), rho, coefficients, padded, vectors })
    }

    /// Returns the number of support vectors.
    pub fn support_vectors(&self) -> usize {
        self.vectors.rows()
    }

    fn decide(&self, row: &[f32]) -> f64 {
        let mut sums = [0.0_f64; TILE];
        self.vectors.kernel(row, self.gamma, |tile, kernel| {
            let coefficients = &self.padded[tile * TILE..(tile + 1) * TILE];
            for ((sum, kernel), coefficient) in sums.iter_mut().zip(kernel).zip(coefficients) {
                *sum += f64::from(kernel * coefficient);
            }
        });
        self.rho - sums.iter().sum::<f64>()
    }

    pub(crate) fn read(tensors: &mut Tensors) -> Result<Self, StepError> {
        let scaler = Scaler::read(tensors)?;
        let (count, columns) = tensors.dimensions("vectors")?;
        let vectors = tensors.take_f32("vectors", &[count, columns])?;
        let coefficients = tensors.take_f64("coefficients", &[count])?;
        if columns != scaler.columns() {
            return Err(StepError::damaged(
                "tensor `vectors` has a different number of columns than \
                 the scaler",
            ));
        }
        if vectors.iter().any(|value| value.abs() > 1e10) {
            return Err(StepError::damaged("tensor `vectors` is out of range"));
        }
        let (gamma, rho) = (tensors.take_number("gamma")?, tensors.take_number("rho")?);
        Self::new(scaler, &vectors, coefficients, gamma, rho)
    }
}

impl Detector for OneClassSvm {
    fn kind(&self) -> &'static str {
        "one_class_svm"
    }

    fn columns(&self) -> usize {
        self.scaler.columns()
    }

    fn decision(&self, rows: ArrayView2<'_, f64>, threads: usize) -> Vec<f64> {
        let columns = self.columns();
        assert_eq!(rows.ncols(), columns, "a row has the columns of the model");
        score_blocks(rows, 256, threads, |rows, scores| {
            let mut scaled = vec![0.0_f32; columns];
            for (row, score) in rows.chunks_exact(columns).zip(scores) {
                self.scaler.scale_rows(row, &mut scaled, single);
                *score = self.decide(&scaled);
            }
        })
    }

    fn attribution(&self, row: ArrayView1<'_, f64>) -> Vec<f64> {
        assert_eq!(row.len(), self.columns(), "a row has the columns of the model");
        let mut scaled = vec![0.0_f32; row.len()];
        self.scaler.scale_rows(&row.to_vec(), &mut scaled, single);
        let count = self.vectors.rows();
        let distances: Vec<f64> =
            (0..count).map(|vector| self.vectors.square_distance(&scaled, vector)).collect();
        // Measured from the nearest vector, so that not all weights of a far row become 0.
        let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
        let mut parts = vec![0.0; row.len()];
        for (vector, distance) in distances.iter().enumerate() {
            let pull = (f64::from(self.gamma) * (nearest - distance)).exp();
            let weight = self.coefficients[vector].abs() * pull;
            for (column, part) in parts.iter_mut().enumerate() {
                let difference =
                    f64::from(scaled[column]) - f64::from(self.vectors.value(vector, column));
                *part += weight * difference * difference;
            }
        }
        shares(parts)
    }

    fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::default();
        self.scaler.write(&mut tensors);
        let (count, columns) = (self.vectors.rows(), self.columns());
        let vectors = (0..count).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let vectors = vectors.map(|(row, column)| self.vectors.value(row, column)).collect();
        tensors.insert_f32("vectors", &[count, columns], vectors);
        tensors.insert_f64("coefficients", &[count], self.coefficients.clone());
        tensors.insert_f64("gamma", &[1], vec![f64::from(self.gamma)]);
        tensors.insert_f64("rho", &[1], vec![self.rho]);
        tensors
    }

    fn is_ratio_scaled(&self) -> bool {
        false
    }
}
