//! Products of small matrices for the autoencoder, several rows side by side.
//!
//! Everything is computed in one order on one thread, and only with instructions that all supported
//! processors have: results are the same to the last bit on all of them.

/// Rows computed side by side.
const LANES: usize = 8;

/// Outputs computed together, from inputs that are loaded once.
const BLOCK: usize = 4;

type Lanes = [f32; LANES];

/// Numbers of some rows, column by column. The values in the last lanes of a column after the rows
/// have no effect, because sums use only numbers that are 0 there ([`Columns::clear_behind_rows`]).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Columns {
    rows: usize,
    /// Lanes of a column.
    width: usize,
    lanes: Vec<Lanes>,
}

impl Columns {
    fn zeros(columns: usize, rows: usize) -> Self {
        let width = rows.div_ceil(LANES);
        Self { rows, width, lanes: vec![[0.0; LANES]; columns * width] }
    }

    /// Transposes rows of this number of columns.
    pub(crate) fn of<'a>(columns: usize, rows: impl ExactSizeIterator<Item = &'a [f32]>) -> Self {
        let mut turned = Self::zeros(columns, rows.len());
        for (at, row) in rows.enumerate() {
            for (column, value) in row.iter().enumerate() {
                turned.lanes[column * turned.width + at / LANES][at % LANES] = *value;
            }
        }
        turned
    }

    /// Returns how many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Returns how many columns there are.
    pub(crate) fn count(&self) -> usize {
        self.columns().len()
    }

    fn columns(&self) -> std::slice::ChunksExact<'_, Lanes> {
        self.lanes.chunks_exact(self.width)
    }

    /// Changes every number independently, including the zeros that fill lanes.
    pub(crate) fn change(&mut self, mut change: impl FnMut(&mut f32)) {
        self.lanes.as_flattened_mut().iter_mut().for_each(&mut change);
    }

    /// Changes every number by the number at the same position of `other`.
    pub(crate) fn change_by(&mut self, other: &Self, mut change: impl FnMut(&mut f32, f32)) {
        let others = other.lanes.as_flattened();
        self.lanes.as_flattened_mut().iter_mut().zip(others).for_each(|(a, b)| change(a, *b));
    }

    /// Resets the lanes after the last row of each column to zero.
    pub(crate) fn clear_behind_rows(&mut self) {
        let used = self.rows % LANES;
        if used > 0 {
            let last = self.lanes.chunks_exact_mut(self.width).filter_map(<[Lanes]>::last_mut);
            last.for_each(|lanes| lanes[used..].fill(0.0));
        }
    }

    /// Returns the sum of each column.
    pub(crate) fn sums(&self) -> impl Iterator<Item = f32> {
        self.columns().map(|column| {
            let mut sum = [0.0; LANES];
            column.iter().for_each(|lanes| add(&mut sum, &[1.0; LANES], lanes));
            sum.iter().sum()
        })
    }

    /// Returns the sum of all squares.
    pub(crate) fn squares(&self) -> f64 {
        let of_column = |column: &[Lanes]| {
            let mut sum = [0.0; LANES];
            column.iter().for_each(|lanes| add(&mut sum, lanes, lanes));
            f64::from(sum.iter().sum::<f32>())
        };
        self.columns().map(of_column).sum()
    }

    /// Writes the product of each of these columns with each of the others, summed over the rows:
    /// shape (these, others).
    pub(crate) fn products(&self, others: &Self, products: &mut [f32]) {
        let parts = self.lanes.chunks(BLOCK * self.width);
        for (columns, products) in parts.zip(products.chunks_mut(BLOCK * others.count())) {
            if columns.len() == BLOCK * self.width {
                others.products_of::<BLOCK>(columns, products);
                continue;
            }
            let parts = products.chunks_exact_mut(others.count());
            for (column, products) in columns.chunks_exact(self.width).zip(parts) {
                others.products_of::<1>(column, products);
            }
        }
    }

    fn products_of<const COLUMNS: usize>(&self, columns: &[Lanes], products: &mut [f32]) {
        let width = self.width;
        let columns: [&[Lanes]; COLUMNS] =
            std::array::from_fn(|number| &columns[number * width..(number + 1) * width]);
        let count = self.count();
        for (number, own) in self.columns().enumerate() {
            let mut sums = [[0.0; LANES]; COLUMNS];
            for (at, values) in own.iter().enumerate() {
                for (sum, column) in sums.iter_mut().zip(&columns) {
                    add(sum, &column[at], values);
                }
            }
            for (column, sum) in sums.iter().enumerate() {
                products[column * count + number] = sum.iter().sum();
            }
        }
    }
}

/// A linear map: weights (inputs, outputs), and a bias for each output.
pub(crate) struct Linear<'a> {
    pub(crate) weights: &'a [f32],
    pub(crate) bias: &'a [f32],
}

impl Linear<'_> {
    /// Maps every row.
    pub(crate) fn apply(&self, input: &Columns) -> Columns {
        let outputs = self.bias.len();
        let mut output = Columns::zeros(outputs, input.rows);
        let blocks = outputs - outputs % BLOCK;
        for first in (0..blocks).step_by(BLOCK) {
            self.apply_block::<BLOCK>(input, first, &mut output);
        }
        for first in blocks..outputs {
            self.apply_block::<1>(input, first, &mut output);
        }
        output
    }

    /// Computes this number of outputs, from `first` on.
    fn apply_block<const OUTPUTS: usize>(
        &self,
        input: &Columns,
        first: usize,
        output: &mut Columns,
    ) {
        for at in 0..input.width {
            let mut sums: [Lanes; OUTPUTS] =
                std::array::from_fn(|number| [self.bias[first + number]; LANES]);
            let weights = self.weights.chunks_exact(self.bias.len());
            for (column, weights) in input.columns().zip(weights) {
                let weights = &weights[first..first + OUTPUTS];
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    add(sum, &[*weight; LANES], &column[at]);
                }
            }
            for (number, sum) in sums.into_iter().enumerate() {
                output.lanes[(first + number) * input.width + at] = sum;
            }
        }
    }
}

/// `sum += factors * values`, lane by lane.
fn add(sum: &mut Lanes, factors: &Lanes, values: &Lanes) {
    for ((sum, factor), value) in sum.iter_mut().zip(factors).zip(values) {
        *sum += factor * value;
    }
}
