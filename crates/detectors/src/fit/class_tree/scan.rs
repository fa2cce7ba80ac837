//! The possible splits of a node by one column.

/// Share of the best purity by which another split must be better: a smaller difference is
/// rounding.
pub(super) const BETTER: f64 = 1e-12;

/// Rows of each class at a node. Integers, because their sums do not depend on the order of rows.
pub(super) type Counts = Vec<u32>;

/// One side of a possible split.
#[derive(Default)]
pub(super) struct Side {
    counts: Counts,
    rows: usize,
    weight: f64,
    /// Sum of the squared weights of the classes.
    squares: f64,
}

impl Side {
    pub(super) fn set(&mut self, counts: &[u32], rows: usize, weights: &[f64]) {
        self.counts.clear();
        self.counts.extend_from_slice(counts);
        self.rows = rows;
        let weighted = counts.iter().zip(weights).map(|(rows, w)| f64::from(*rows) * w);
        (self.weight, self.squares) =
            weighted.fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    }

    pub(super) fn purity(&self) -> f64 {
        if self.weight > 0.0 { self.squares / self.weight } else { 0.0 }
    }
}

/// Moves rows of a column, bin by bin, from the right to the left side and keeps the best split.
#[derive(Default)]
pub(super) struct Scan {
    left: Side,
    right: Side,
    bin: Option<u16>,
    /// Number of split positions between two non-empty bins.
    pub(super) places: usize,
    pub(super) best: Option<(u16, f64)>,
}

impl Scan {
    pub(super) fn start(&mut self, counts: &[u32], rows: usize, weights: &[f64]) {
        self.right.set(counts, rows, weights);
        self.left.counts.clear();
        self.left.counts.resize(counts.len(), 0);
        (self.left.rows, self.left.weight, self.left.squares) = (0, 0.0, 0.0);
        (self.bin, self.places, self.best) = (None, 0, None);
    }

    /// Handles a non-empty bin: the split before it may be the best.
    #[inline]
    pub(super) fn reach(&mut self, bin: u16, least: usize) {
        let Some(before) = self.bin.replace(bin) else { return };
        if before == bin {
            return;
        }
        self.places += 1;
        if self.left.rows < least || self.right.rows < least {
            return;
        }
        let purity = self.left.purity() + self.right.purity();
        if self.best.is_none_or(|(_, best)| purity > best + best.abs() * BETTER) {
            self.best = Some((before, purity));
        }
    }

    /// Moves rows of one class to the left.
    #[inline]
    pub(super) fn take(&mut self, class: usize, rows: usize, copies: u32, weight: f64) {
        let moved = f64::from(copies) * weight;
        let left = f64::from(self.left.counts[class]) * weight;
        let right = f64::from(self.right.counts[class]) * weight;
        self.left.squares += moved * (2.0 * left + moved);
        self.right.squares -= moved * (2.0 * right - moved);
        self.left.weight += moved;
        self.right.weight -= moved;
        self.left.counts[class] += copies;
        self.right.counts[class] -= copies;
        self.left.rows += rows;
        self.right.rows -= rows;
    }
}
