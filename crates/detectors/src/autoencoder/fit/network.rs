//! The autoencoder's network as one operation of candle: from its parameters to its loss on a batch.
//!
//! With layers as small as ours, a graph of candle's own operations makes a training step many
//! times slower than its arithmetic: every intermediate value is a tensor, forwards and backwards,
//! and candle's product asks the system for its number of processors at each call. This operation
//! computes the gradient together with the loss; candle holds the parameters and does the
//! optimiser's step.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp1, Device, Error, Layout, Result, Shape, Tensor};

use super::columns::{Columns, Linear};
use crate::autoencoder::Layer;
use crate::scaler::single;

/// Layers whose parameters are one list: the weights of a layer (outputs, inputs), then its biases,
/// layer by layer. Hidden layers have `ReLU`, the last has none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network<'a> {
    /// Sizes from the input to the output.
    pub(crate) sizes: &'a [usize],
    /// All parameters.
    pub(crate) parameters: &'a [f32],
}

/// Result of the forward pass of a batch.
struct Forward {
    /// Outputs of the hidden layers.
    hidden: Vec<Columns>,
    /// Outputs of the last layer minus the target.
    residuals: Columns,
}

impl Forward {
    /// Returns the mean squared residual of all rows and columns.
    fn loss(&self) -> f64 {
        self.residuals.squares() / (self.residuals.rows() * self.residuals.count()) as f64
    }
}

impl<'a> Network<'a> {
    /// Returns inputs, weights and biases of each layer, the first layer first.
    fn dense(self) -> Vec<(usize, &'a [f32], &'a [f32])> {
        let mut rest = self.parameters;
        let dense = self.sizes.windows(2).map(|sizes| {
            let (weights, behind) = rest.split_at(sizes[0] * sizes[1]);
            let (bias, behind) = behind.split_at(sizes[1]);
            rest = behind;
            (sizes[0], weights, bias)
        });
        dense.collect()
    }

    /// Returns the layers in the form of a model.
    pub(crate) fn layers(self) -> Vec<Layer> {
        let layer = |(inputs, weight, bias): (usize, &[f32], &[f32])| Layer {
            inputs,
            outputs: bias.len(),
            weight: weight.to_vec(),
            bias: bias.to_vec(),
        };
        self.dense().into_iter().map(layer).collect()
    }

    /// Returns the mean squared error of the reconstructions of `rows`.
    pub(crate) fn loss(self, rows: &Columns) -> f64 {
        self.forward(rows, rows).loss()
    }

    fn forward(self, input: &Columns, target: &Columns) -> Forward {
        let mut outputs: Vec<Columns> = Vec::new();
        for (inputs, weights, bias) in self.dense() {
            if let Some(hidden) = outputs.last_mut() {
                hidden.change(|value| *value = value.max(0.0));
            }
            let turned: Vec<f32> = (0..inputs)
                .flat_map(|input| weights.iter().skip(input).step_by(inputs).copied())
                .collect();
            let linear = Linear { weights: &turned, bias };
            outputs.push(linear.apply(outputs.last().unwrap_or(input)));
        }
        let mut residuals = outputs.pop().expect("a network has a layer");
        residuals.change_by(target, |value, target| *value -= target);
        residuals.clear_behind_rows();
        Forward { hidden: outputs, residuals }
    }

    /// Returns the gradient of the loss by the parameters.
    fn gradient(self, input: &Columns, forward: Forward) -> Vec<f32> {
        let Forward { hidden, residuals: mut slopes } = forward;
        let factor = 2.0 / (slopes.rows() * slopes.count()) as f64;
        slopes.change(|residual| *residual *= single(factor));
        // Layer by layer from the last to the first.
        let mut gradient = vec![0.0; self.parameters.len()];
        let mut rest = gradient.as_mut_slice();
        for (index, (inputs, weights, bias)) in self.dense().into_iter().enumerate().rev() {
            let (before, own) = rest.split_at_mut(rest.len() - weights.len() - bias.len());
            rest = before;
            let (of_weights, of_bias) = own.split_at_mut(weights.len());
            of_bias.iter_mut().zip(slopes.sums()).for_each(|(slope, sum)| *slope = sum);
            let Some(below) = index.checked_sub(1).map(|below| &hidden[below]) else {
                slopes.products(input, of_weights);
                break;
            };
            slopes.products(below, of_weights);
            let back = Linear { weights, bias: &vec![0.0; inputs] };
            slopes = back.apply(&slopes);
            slopes.change_by(below, |slope, value| *slope = if value > 0.0 { *slope } else { 0.0 });
        }
        gradient
    }
}

/// A batch, as an operation from the parameters to the loss.
pub(crate) struct Reconstruction {
    sizes: Arc<[usize]>,
    input: Columns,
    /// Target of the output, if it is not the input.
    target: Option<Columns>,
    gradient: OnceLock<Vec<f32>>,
}

impl Reconstruction {
    /// Makes the operation of a network of these sizes.
    pub(crate) fn new(sizes: Arc<[usize]>, input: Columns, target: Option<Columns>) -> Self {
        Self { sizes, input, target, gradient: OnceLock::new() }
    }
}

impl CustomOp1 for Reconstruction {
    fn name(&self) -> &'static str {
        "reconstruction"
    }

    fn cpu_fwd(&self, parameters: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (start, end) = layout
            .contiguous_offsets()
            .ok_or_else(|| Error::Msg("parameters are contiguous".to_owned()))?;
        let parameters = &parameters.as_slice::<f32>()?[start..end];
        let network = Network { sizes: &self.sizes, parameters };
        let forward = network.forward(&self.input, self.target.as_ref().unwrap_or(&self.input));
        let loss = single(forward.loss());
        self.gradient.get_or_init(|| network.gradient(&self.input, forward));
        Ok((CpuStorage::F32(vec![loss]), Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, slope: &Tensor) -> Result<Option<Tensor>> {
        let gradient = self.gradient.get().map_or(&[][..], Vec::as_slice);
        let gradient = Tensor::from_slice(gradient, gradient.len(), &Device::Cpu)?;
        Ok(Some(gradient.broadcast_mul(slope)?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

    fn numbers(count: usize, step: f64) -> Vec<f32> {
        (0..count).map(|at| single((at as f64 * step).sin())).collect()
    }

    fn columns(values: &[f32], columns: usize) -> Columns {
        Columns::of(columns, values.chunks_exact(columns))
    }

    /// Computes the same with candle's own operations.
    fn candle(sizes: &[usize], parameters: &Var, input: &Tensor, target: &Tensor) -> Tensor {
        let mut output = input.clone();
        let mut first = 0;
        for (index, pair) in sizes.windows(2).enumerate() {
            let mut take = |count: usize| {
                first += count;
                parameters.narrow(0, first - count, count).unwrap()
            };
            let weights = take(pair[0] * pair[1]).reshape((pair[1], pair[0])).unwrap();
            let bias = take(pair[1]);
            output = output.matmul(&weights.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
            if index + 2 < sizes.len() {
                output = output.relu().unwrap();
            }
        }
        (output - target).unwrap().sqr().unwrap().mean_all().unwrap()
    }

    #[test]
    fn loss_and_gradient_are_those_of_candle() {
        let device = Device::Cpu;
        for (sizes, rows) in [
            (vec![25, 6, 25], 256),
            (vec![25, 16, 6, 16, 25], 165),
            (vec![3, 5, 2, 3], 13),
            (vec![1, 1, 1], 1),
            (vec![7, 9, 7], 8),
        ] {
            let count = sizes.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum::<usize>();
            let parameters = Var::from_vec(numbers(count, 1.7), count, &device).unwrap();
            let (wide, values) = (sizes[0], numbers(rows * sizes[0], 0.7));
            let clean = numbers(rows * sizes[0], 0.3);
            let tensor =
                |values: &[f32]| Tensor::from_slice(values, (rows, wide), &device).unwrap();
            let theirs = candle(&sizes, &parameters, &tensor(&values), &tensor(&clean));
            let target = Some(columns(&clean, wide));
            let own = Reconstruction::new(sizes.clone().into(), columns(&values, wide), target);
            let ours = parameters.apply_op1(own).unwrap();
            let scalar = |tensor: &Tensor| tensor.to_scalar::<f32>().unwrap();
            assert!((scalar(&ours) - scalar(&theirs)).abs() < 1e-5 * scalar(&theirs));
            let gradient = |loss: &Tensor| -> Vec<f32> {
                loss.backward().unwrap().get(&parameters).unwrap().to_vec1().unwrap()
            };
            let (ours, theirs) = (gradient(&ours), gradient(&theirs));
            let largest = theirs.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            assert!(largest > 0.0);
            for (our, their) in ours.iter().zip(&theirs) {
                assert!((our - their).abs() < 1e-5 * largest, "{sizes:?}: {our}, not {their}");
            }
        }
    }

    #[test]
    fn row_loss_does_not_depend_on_padding() {
        let parameters = numbers(2 * 3 * 2 + 5, 0.9);
        let network = Network { sizes: &[3, 2, 3], parameters: &parameters };
        let values = numbers(3 * 9, 0.4);
        let alone = values.chunks_exact(3).map(|row| network.loss(&columns(row, 3))).sum::<f64>();
        assert!((network.loss(&columns(&values, 3)) - alone / 9.0).abs() < 1e-6);
    }
}
