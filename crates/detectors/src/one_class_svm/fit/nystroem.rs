//! A one-class support vector machine on a kernel of low rank, for many rows.
//!
//! The kernel is replaced by its projection on a sample of landmark rows (Williams, Seeger: Using
//! the Nyström method to speed up kernel machines, 2001): `k(x, y) ~ k(x, L) K^-1 k(L, y)`. In the
//! space of this kernel the machine is linear, and its dual, "the shortest convex combination of
//! rows with weights at most 1 / (nu n)", is solved by Frank and Wolfe's method (1956; Jaggi,
//! 2013): each step goes towards the mean of the `nu n` rows that score lowest, with an exact line
//! search. The offset is then set so that `nu n` rows lie outside.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::smo::Problem;
use crate::fit::{FitError, rows};
use crate::numbers::whole;
use crate::one_class_svm::Tiles;

/// Number of landmarks, which is the number of vectors of the model.
pub(crate) const LANDMARKS: usize = 256;

const MOST_STEPS: usize = 300;

/// The solver ends when the duality gap is below this share of the objective.
const GAP: f64 = 1e-4;

/// The solution: `rho - sum of coefficient * kernel` as for the exact machine.
pub(crate) struct LowRank {
    /// Landmark rows, one after another.
    pub(crate) landmarks: Vec<f32>,
    pub(crate) coefficients: Vec<f64>,
    pub(crate) rho: f64,
    pub(crate) steps: usize,
}

/// Solves the problem; `tolerance` and `cache_bytes` are not used.
pub(crate) fn solve(problem: Problem<'_>, seed: u64) -> Result<LowRank, FitError> {
    let columns = problem.columns;
    let count = problem.rows.len() / columns;
    let mut chosen =
        rows::sample(&mut ChaCha8Rng::seed_from_u64(seed), count, LANDMARKS.min(count));
    chosen.sort_unstable();
    let landmarks: Vec<f32> = chosen
        .iter()
        .flat_map(|row| &problem.rows[row * columns..(row + 1) * columns])
        .copied()
        .collect();
    let size = chosen.len();
    let kernels = Kernels::new(problem, &landmarks, size);
    let factor =
        Cholesky::new(&Kernels::new(Problem { rows: &landmarks, ..problem }, &landmarks, size))
            .ok_or(FitError::Singular)?;
    // The start is the mean of all rows; its weights obey the bound.
    let everything: Vec<usize> = (0..count).collect();
    let outside = problem.nu * count as f64;
    let mut point = kernels.mean(&everything, count as f64);
    let mut scores = Vec::new();
    let mut steps = 0;
    let mut coefficients = factor.solve(&point);
    while steps < MOST_STEPS {
        steps += 1;
        scores = kernels.scores(&coefficients, problem.threads);
        let target = kernels.mean(&lowest(&scores, outside), outside);
        let target_coefficients = factor.solve(&target);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let own = dot(&point, &coefficients);
        let gap = own - dot(&target, &coefficients);
        let length = own - 2.0 * dot(&target, &coefficients) + dot(&target, &target_coefficients);
        if gap <= GAP * own.abs() || length <= 0.0 {
            break;
        }
        let step = (gap / length).min(1.0);
        for (mine, other) in [(&mut point, &target), (&mut coefficients, &target_coefficients)] {
            mine.iter_mut().zip(other).for_each(|(mine, other)| *mine += step * (other - *mine));
        }
    }
    scores =
        if scores.is_empty() { kernels.scores(&coefficients, problem.threads) } else { scores };
    let boundary = lowest(&scores, outside);
    let rho = boundary.iter().map(|row| scores[*row]).fold(f64::NEG_INFINITY, f64::max);
    // libsvm's multipliers sum to nu n, these multipliers sum to 1.
    coefficients.iter_mut().for_each(|coefficient| *coefficient *= outside);
    Ok(LowRank { landmarks, coefficients, rho: rho * outside, steps })
}

/// Returns the rows that score lowest, as many as weights of 1 / `outside` fill.
fn lowest(scores: &[f64], outside: f64) -> Vec<usize> {
    let count = whole(outside).clamp(1, scores.len());
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let by_score = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]).then(a.cmp(b));
    order.select_nth_unstable_by(count - 1, by_score);
    order.truncate(count);
    order.sort_unstable();
    order
}

/// Kernel values of rows against landmarks, (rows, landmarks).
struct Kernels {
    values: Vec<f32>,
    size: usize,
}

impl Kernels {
    fn new(problem: Problem<'_>, landmarks: &[f32], size: usize) -> Self {
        let tiles = Tiles::new(landmarks, problem.columns);
        let count = problem.rows.len() / problem.columns;
        let mut values = vec![0.0; count * size];
        let share = count.div_ceil(problem.threads.max(1)).max(1);
        std::thread::scope(|scope| {
            let parts =
                values.chunks_mut(share * size).zip(problem.rows.chunks(share * problem.columns));
            for (values, rows) in parts {
                let tiles = &tiles;
                scope.spawn(move || {
                    let rows = rows.chunks_exact(problem.columns);
                    for (row, values) in rows.zip(values.chunks_exact_mut(size)) {
                        tiles.kernel(row, problem.gamma, |tile, kernel| {
                            let start = tile * kernel.len();
                            let length = kernel.len().min(size - start);
                            values[start..start + length].copy_from_slice(&kernel[..length]);
                        });
                    }
                });
            }
        });
        Self { values, size }
    }

    fn mean(&self, rows: &[usize], weight: f64) -> Vec<f64> {
        let mut sum = vec![0.0; self.size];
        for row in rows {
            let values = &self.values[row * self.size..(row + 1) * self.size];
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        sum.iter_mut().for_each(|sum| *sum /= weight.min(rows.len() as f64).max(1.0));
        sum
    }

    fn scores(&self, coefficients: &[f64], threads: usize) -> Vec<f64> {
        let count = self.values.len() / self.size;
        let mut scores = vec![0.0; count];
        let share = count.div_ceil(threads.max(1)).max(1);
        std::thread::scope(|scope| {
            let parts = scores.chunks_mut(share).zip(self.values.chunks(share * self.size));
            for (scores, values) in parts {
                scope.spawn(move || {
                    for (score, values) in scores.iter_mut().zip(values.chunks_exact(self.size)) {
                        let terms = values.iter().zip(coefficients);
                        *score = terms.map(|(value, c)| f64::from(*value) * c).sum();
                    }
                });
            }
        });
        scores
    }
}

/// Cholesky factor of the landmarks' kernel matrix.
struct Cholesky {
    factor: Vec<f64>,
    size: usize,
}

impl Cholesky {
    fn new(kernels: &Kernels) -> Option<Self> {
        let size = kernels.size;
        let mut factor = vec![0.0_f64; size * size];
        for row in 0..size {
            for column in 0..=row {
                let known: f64 =
                    (0..column).map(|k| factor[row * size + k] * factor[column * size + k]).sum();
                // Equal landmarks and single precision give eigenvalues of 0, so a small value is
                // added to the diagonal.
                let lift = if row == column { 1e-4 } else { 0.0 };
                let rest = f64::from(kernels.values[row * size + column]) + lift - known;
                factor[row * size + column] = if row == column {
                    if rest <= 0.0 {
                        return None;
                    }
                    rest.sqrt()
                } else {
                    rest / factor[column * size + column]
                };
            }
        }
        Some(Self { factor, size })
    }

    fn solve(&self, right: &[f64]) -> Vec<f64> {
        let (size, factor) = (self.size, &self.factor);
        let mut solution = right.to_vec();
        for row in 0..size {
            let known: f64 = (0..row).map(|k| factor[row * size + k] * solution[k]).sum();
            solution[row] = (solution[row] - known) / factor[row * size + row];
        }
        for row in (0..size).rev() {
            let known: f64 = (row + 1..size).map(|k| factor[k * size + row] * solution[k]).sum();
            solution[row] = (solution[row] - known) / factor[row * size + row];
        }
        solution
    }
}
