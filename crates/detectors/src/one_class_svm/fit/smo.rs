//! Sequential minimal optimisation for the one-class support vector machine.
//!
//! The problem, its first point and its stopping rule are libsvm's (Chang, Lin: LIBSVM, 2011):
//! minimise `a' K a / 2` with `0 <= a <= 1` and `sum a = nu n`, started with the first `nu n`
//! multipliers at 1. Pairs are chosen by second-order information (Fan, Chen, Lin: Working set
//! selection using second order information, 2005); variables at a bound are left out (shrinking)
//! and checked again before the end.

use crate::numbers::whole as whole_number;
use crate::one_class_svm::{TILE, Tiles};

/// Replaces a curvature that is not positive.
const TAU: f64 = 1e-12;

/// The problem.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Problem<'a> {
    /// Scaled rows, one after another.
    pub(crate) rows: &'a [f32],
    pub(crate) columns: usize,
    pub(crate) gamma: f32,
    pub(crate) nu: f64,
    pub(crate) tolerance: f64,
    pub(crate) cache_bytes: usize,
    pub(crate) threads: usize,
}

/// The solution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Solution {
    /// One multiplier per row, 0 to 1.
    pub(crate) multipliers: Vec<f64>,
    pub(crate) rho: f64,
    pub(crate) iterations: usize,
    /// Whether the stopping rule was met; otherwise the maximum number of iterations was reached.
    pub(crate) converged: bool,
}

struct Solver<'a> {
    problem: Problem<'a>,
    multipliers: Vec<f64>,
    gradient: Vec<f64>,
    /// Active rows, in order; tiles and cached rows contain only these.
    active: Vec<usize>,
    tiles: Tiles,
    cache: Cache,
}

pub(crate) fn solve(problem: Problem<'_>) -> Solution {
    let count = problem.rows.len() / problem.columns;
    let mut solver = Solver::new(problem, count);
    let most = (100 * count).max(10_000_000);
    let until_shrink = count.clamp(1, 1000);
    let (mut iterations, mut unshrunk, mut countdown) = (0, false, until_shrink);
    let mut converged = true;
    loop {
        countdown -= 1;
        if countdown == 0 {
            countdown = until_shrink;
            solver.shrink(&mut unshrunk);
        }
        let mut pair = solver.select();
        if pair.is_none() && solver.active.len() < count {
            solver.activate_all();
            countdown = 1;
            pair = solver.select();
        }
        let Some((first, second)) = pair else { break };
        if iterations == most {
            converged = false;
            solver.activate_all();
            break;
        }
        iterations += 1;
        solver.update(first, second);
    }
    let rho = solver.rho();
    Solution { multipliers: solver.multipliers, rho, iterations, converged }
}

impl<'a> Solver<'a> {
    fn new(problem: Problem<'a>, count: usize) -> Self {
        let total = problem.nu * count as f64;
        let whole = whole_number(total).min(count);
        let mut multipliers = vec![0.0; count];
        multipliers[..whole].fill(1.0);
        if whole < count {
            multipliers[whole] = total - whole as f64;
        }
        let active: Vec<usize> = (0..count).collect();
        let tiles = Tiles::new(problem.rows, problem.columns);
        let mut solver = Self {
            cache: Cache::new(problem.cache_bytes, count, count),
            gradient: vec![0.0; count],
            problem,
            multipliers,
            active,
            tiles,
        };
        solver.gradient = solver.gradient_over(&solver.tiles, count);
        solver
    }

    fn row(&self, row: usize) -> &'a [f32] {
        let columns = self.problem.columns;
        &self.problem.rows[row * columns..(row + 1) * columns]
    }

    /// Returns the sum of multiplier times kernel for each row of some tiles. Rows are added in
    /// their order for each tile, so the bytes do not depend on the threads.
    fn gradient_over(&self, tiles: &Tiles, count: usize) -> Vec<f64> {
        let support: Vec<(usize, f64)> = self
            .multipliers
            .iter()
            .enumerate()
            .filter_map(|(row, multiplier)| (*multiplier > 0.0).then_some((row, *multiplier)))
            .collect();
        let mut gradient = vec![0.0; count.div_ceil(TILE) * TILE];
        let threads = self.problem.threads.max(1);
        let share = gradient.len().div_ceil(TILE).div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            for (part, sums) in gradient.chunks_mut(share * TILE).enumerate() {
                let support = &support;
                let mut work = move || {
                    let range = part * share..part * share + sums.len() / TILE;
                    for (row, multiplier) in support {
                        let values = self.row(*row);
                        tiles.kernel_of(
                            range.clone(),
                            values,
                            self.problem.gamma,
                            |tile, kernel| {
                                let start = (tile - part * share) * TILE;
                                let sums = &mut sums[start..start + TILE];
                                for (sum, kernel) in sums.iter_mut().zip(kernel) {
                                    *sum += multiplier * f64::from(*kernel);
                                }
                            },
                        );
                    }
                };
                if threads == 1 {
                    work();
                } else {
                    scope.spawn(work);
                }
            }
        });
        gradient.truncate(count);
        gradient
    }

    /// Returns the positions of the pair with the largest expected decrease, or `None` at the
    /// optimum.
    fn select(&mut self) -> Option<(usize, usize)> {
        let mut first = None;
        let mut steepest = f64::NEG_INFINITY;
        for (at, &row) in self.active.iter().enumerate() {
            if self.multipliers[row] < 1.0 && -self.gradient[row] >= steepest {
                (first, steepest) = (Some(at), -self.gradient[row]);
            }
        }
        let first = first?;
        let kernel = self.kernel_row(first);
        let kernel = self.cache.get(kernel);
        let (mut second, mut best, mut opposite) = (None, f64::INFINITY, f64::NEG_INFINITY);
        for ((at, &row), kernel) in self.active.iter().enumerate().zip(kernel) {
            if self.multipliers[row] <= 0.0 {
                continue;
            }
            let gradient = self.gradient[row];
            opposite = opposite.max(gradient);
            let difference = steepest + gradient;
            if difference > 0.0 {
                // The diagonal of a Gaussian kernel is 1.
                let curvature = 2.0 - 2.0 * f64::from(*kernel);
                let curvature = if curvature > 0.0 { curvature } else { TAU };
                let gain = -(difference * difference) / curvature;
                if gain <= best {
                    (second, best) = (Some(at), gain);
                }
            }
        }
        if steepest + opposite < self.problem.tolerance {
            return None;
        }
        Some((first, second?))
    }

    fn update(&mut self, first: usize, second: usize) {
        let (i, j) = (self.active[first], self.active[second]);
        let (slot_i, slot_j) = (self.kernel_row(first), self.kernel_row(second));
        let (kernel_i, kernel_j) = (self.cache.get(slot_i), self.cache.get(slot_j));
        let curvature = 2.0 - 2.0 * f64::from(kernel_i[second]);
        let curvature = if curvature > 0.0 { curvature } else { TAU };
        let delta = (self.gradient[i] - self.gradient[j]) / curvature;
        let (old_i, old_j) = (self.multipliers[i], self.multipliers[j]);
        let sum = old_i + old_j;
        // The pair moves along its constant sum, inside the box.
        let (lowest, highest) = ((sum - 1.0).max(0.0), sum.min(1.0));
        let new_i = (old_i - delta).clamp(lowest, highest);
        // At the ends of the line the other multiplier is exactly at its bound: rounding must not
        // move it off the bound.
        let new_j = match new_i {
            end if end <= sum - 1.0 => 1.0,
            end if end >= sum => 0.0,
            _ => sum - new_i,
        };
        (self.multipliers[i], self.multipliers[j]) = (new_i, new_j);
        let (change_i, change_j) = (new_i - old_i, new_j - old_j);
        for ((&row, one), other) in self.active.iter().zip(kernel_i).zip(kernel_j) {
            self.gradient[row] += f64::from(*one) * change_i + f64::from(*other) * change_j;
        }
    }

    /// Returns the cache slot with the kernel values of an active row against all active rows.
    fn kernel_row(&mut self, position: usize) -> usize {
        let row = self.active[position];
        let (slot, values) = self.cache.slot(row);
        if let Some(values) = values {
            let start = row * self.problem.columns;
            let point = &self.problem.rows[start..start + self.problem.columns];
            self.tiles.kernel(point, self.problem.gamma, |tile, kernel| {
                let rest = values.len() - tile * TILE;
                let length = rest.min(TILE);
                values[tile * TILE..tile * TILE + length].copy_from_slice(&kernel[..length]);
            });
        }
        slot
    }

    /// Leaves out variables that are at a bound and would stay there.
    fn shrink(&mut self, unshrunk: &mut bool) {
        let (mut up, mut low) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
        for &row in &self.active {
            if self.multipliers[row] < 1.0 {
                up = up.max(-self.gradient[row]);
            }
            if self.multipliers[row] > 0.0 {
                low = low.max(self.gradient[row]);
            }
        }
        if !*unshrunk && up + low <= self.problem.tolerance * 10.0 {
            *unshrunk = true;
            self.activate_all();
        }
        let stays = |row: usize| {
            if self.multipliers[row] >= 1.0 {
                -self.gradient[row] <= up
            } else if self.multipliers[row] <= 0.0 {
                self.gradient[row] <= low
            } else {
                true
            }
        };
        let kept: Vec<usize> =
            (0..self.active.len()).filter(|&at| stays(self.active[at])).collect();
        // Shrinking is worth its cost only if the set becomes clearly smaller.
        if kept.len() * 10 > self.active.len() * 9 {
            return;
        }
        self.cache.keep(&kept, self.multipliers.len());
        self.active = kept.into_iter().map(|at| self.active[at]).collect();
        let columns = self.problem.columns;
        let rows: Vec<f32> = self.active.iter().flat_map(|row| self.row(*row)).copied().collect();
        self.tiles = Tiles::new(&rows, columns);
    }

    /// Makes every row active again, with a recomputed gradient for those that were left out.
    fn activate_all(&mut self) {
        let count = self.multipliers.len();
        if self.active.len() == count {
            return;
        }
        let mut out = vec![true; count];
        self.active.iter().for_each(|row| out[*row] = false);
        let out: Vec<usize> = (0..count).filter(|row| out[*row]).collect();
        let rows: Vec<f32> = out.iter().flat_map(|row| self.row(*row)).copied().collect();
        let fresh = self.gradient_over(&Tiles::new(&rows, self.problem.columns), out.len());
        out.iter().zip(fresh).for_each(|(row, gradient)| self.gradient[*row] = gradient);
        self.active = (0..count).collect();
        self.tiles = Tiles::new(self.problem.rows, self.problem.columns);
        self.cache = Cache::new(self.problem.cache_bytes, count, count);
    }

    /// The mean gradient of the free multipliers, or the middle of its bounds if none is free.
    fn rho(&self) -> f64 {
        let (mut sum, mut free) = (0.0, 0_usize);
        let (mut upper, mut lower) = (f64::INFINITY, f64::NEG_INFINITY);
        for (multiplier, gradient) in self.multipliers.iter().zip(&self.gradient) {
            if *multiplier >= 1.0 {
                lower = lower.max(*gradient);
            } else if *multiplier <= 0.0 {
                upper = upper.min(*gradient);
            } else {
                sum += gradient;
                free += 1;
            }
        }
        match free {
            0 if lower.is_finite() && upper.is_finite() => f64::midpoint(upper, lower),
            0 => {
                if lower.is_finite() {
                    lower
                } else {
                    upper
                }
            }
            _ => sum / free as f64,
        }
    }
}

/// Cache of kernel rows, which evicts the least recently used row.
struct Cache {
    /// Slot of each row's values; `None` if they are not cached.
    slot_of: Vec<Option<usize>>,
    slots: Vec<Slot>,
    capacity: usize,
    bytes: usize,
    length: usize,
    clock: u64,
}

struct Slot {
    row: usize,
    used: u64,
    values: Vec<f32>,
}

impl Cache {
    fn new(bytes: usize, rows: usize, length: usize) -> Self {
        // Two rows are in use at a time.
        let capacity = (bytes / (4 * length.max(1))).max(2);
        Self { slot_of: vec![None; rows], slots: Vec::new(), capacity, bytes, length, clock: 0 }
    }

    fn get(&self, slot: usize) -> &[f32] {
        &self.slots[slot].values
    }

    /// Returns the slot of a row, and its values to fill if they are not cached.
    fn slot(&mut self, row: usize) -> (usize, Option<&mut [f32]>) {
        self.clock += 1;
        if let Some(slot) = self.slot_of[row] {
            self.slots[slot].used = self.clock;
            return (slot, None);
        }
        let slot = if self.slots.len() < self.capacity {
            self.slots.push(Slot { row, used: self.clock, values: vec![0.0; self.length] });
            self.slots.len() - 1
        } else {
            let oldest = self.slots.iter().enumerate().min_by_key(|(_, slot)| slot.used);
            let slot = oldest.map_or(0, |(index, _)| index);
            self.slot_of[self.slots[slot].row] = None;
            (self.slots[slot].row, self.slots[slot].used) = (row, self.clock);
            slot
        };
        self.slot_of[row] = Some(slot);
        (slot, Some(&mut self.slots[slot].values))
    }

    /// Keeps only these positions of every row.
    fn keep(&mut self, positions: &[usize], rows: usize) {
        let mut smaller = Self::new(self.bytes, rows, positions.len());
        smaller.clock = self.clock;
        self.slots.sort_by_key(|slot| std::cmp::Reverse(slot.used));
        self.slots.truncate(smaller.capacity);
        for slot in self.slots.drain(..) {
            let values = positions.iter().map(|position| slot.values[*position]).collect();
            smaller.slot_of[slot.row] = Some(smaller.slots.len());
            smaller.slots.push(Slot { values, ..slot });
        }
        *self = smaller;
    }
}
