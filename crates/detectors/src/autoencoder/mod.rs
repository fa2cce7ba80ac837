//! A network that learned to reproduce normal rows: a row with a large reconstruction error is
//! unusual (Hinton, Salakhutdinov: Reducing the Dimensionality of Data with Neural Networks, 2006).

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
pub(crate) const READER: Reader = Reader::Rows(|tensors| Ok(Box::new(Autoencoder::read(tensors)?)));

/// A fully connected layer, `weight * input + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Shape (outputs, inputs) by rows, as `PyTorch` stores it.
    pub weight: Vec<f32>,
    /// One number per output.
    pub bias: Vec<f32>,
}

/// Mean over the columns of the squared residual, each divided by the column's usual one.
///
/// The forward pass is in single precision, as the network was trained; residuals are summed in
/// double precision. Hidden layers have `ReLU`, the output has none.
///
/// Attribution: each column's term of that mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Autoencoder {
    scaler: Scaler,
    layers: Vec<Layer>,
    /// Each layer's weights turned to (inputs, outputs), so that the inner loop runs over outputs.
    turned: Vec<Vec<f32>>,
    residual_square: Vec<f64>,
}

impl Autoencoder {
    /// Makes the detector; `residual_square` is what each column's squared residual is divided by
    /// (all 1 leaves them as they are).
    pub fn new(
        scaler: Scaler,
        layers: Vec<Layer>,
        residual_square: Vec<f64>,
    ) -> Result<Self, StepError> {
        let wrong = |what: &str| Err(StepError::damaged(format!("the autoencoder's {what}")));
        let columns = scaler.columns();
        let mut width = columns;
        for layer in &layers {
            let sizes = (layer.weight.len(), layer.bias.len());
            let fits = sizes == (layer.inputs * layer.outputs, layer.outputs);
            if layer.inputs != width || layer.outputs == 0 || !fits {
                return wrong("layers do not follow one another");
            }
            width = layer.outputs;
        }
        if layers.is_empty() || width != columns {
            return wrong("last layer does not have as many outputs as there are columns");
        }
        if residual_square.len() != columns || residual_square.iter().any(|value| *value <= 0.0) {
            return wrong("residual spreads are not one positive number a column");
        }
        let turned = layers.iter().map(turn).collect();
        Ok(Self { scaler, layers, turned, residual_square })
    }

    /// Returns the layers, input first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    fn forward(&self, scratch: &mut Scratch) {
        let last = self.layers.len() - 1;
        scratch.output.clear();
        scratch.output.extend_from_slice(&scratch.input);
        for (index, (layer, turned)) in self.layers.iter().zip(&self.turned).enumerate() {
            std::mem::swap(&mut scratch.output, &mut scratch.hidden);
            scratch.output.clear();
            scratch.output.extend_from_slice(&layer.bias);
            for (value, weights) in scratch.hidden.iter().zip(turned.chunks_exact(layer.outputs)) {
                let outputs = scratch.output.iter_mut().zip(weights);
                outputs.for_each(|(output, weight)| *output += value * weight);
            }
            if index < last {
                scratch.output.iter_mut().for_each(|value| *value = value.max(0.0));
            }
        }
    }

    /// Writes each column's normalised squared residual into `terms`.
    fn terms(&self, row: &[f64], scratch: &mut Scratch, terms: &mut [f64]) {
        scratch.input.resize(row.len(), 0.0);
        // Single precision is what the network was trained in.
        self.scaler.scale_rows(row, &mut scratch.input, single);
        self.forward(scratch);
        let pairs = scratch.input.iter().zip(&scratch.output).zip(&self.residual_square);
        for (((input, output), square), term) in pairs.zip(terms) {
            let residual = f64::from(*input) - f64::from(*output);
            // The square of any two single-precision numbers' difference is finite, but an output
            // may overflow where an input is absurd.
            let residual = if residual.is_finite() { residual } else { f64::from(f32::MAX) };
            *term = residual * residual / square;
        }
    }

    pub(crate) fn read(tensors: &mut Tensors) -> Result<Self, StepError> {
        let scaler = Scaler::read(tensors)?;
        let mut layers = Vec::new();
        loop {
            let name = format!("layer.{}.weight", layers.len());
            if tensors.shape(&name).is_none() {
                break;
            }
            let (outputs, inputs) = tensors.dimensions(&name)?;
            let weight = tensors.take_f32(&name, &[outputs, inputs])?;
            let bias = tensors.take_f32(&format!("layer.{}.bias", layers.len()), &[outputs])?;
            layers.push(Layer { inputs, outputs, weight, bias });
        }
        let residual_square = tensors.take_f64("residual_square", &[scaler.columns()])?;
        Self::new(scaler, layers, residual_square)
    }
}

fn turn(layer: &Layer) -> Vec<f32> {
    let mut turned = vec![0.0; layer.weight.len()];
    for (output, weights) in layer.weight.chunks_exact(layer.inputs.max(1)).enumerate() {
        for (input, weight) in weights.iter().enumerate() {
            turned[input * layer.outputs + output] = *weight;
        }
    }
    turned
}

#[derive(Default)]
struct Scratch {
    input: Vec<f32>,
    hidden: Vec<f32>,
    output: Vec<f32>,
}

impl Detector for Autoencoder {
    fn kind(&self) -> &'static str {
        "autoencoder"
    }

    fn columns(&self) -> usize {
        self.scaler.columns()
    }

    fn decision(&self, rows: ArrayView2<'_, f64>, threads: usize) -> Vec<f64> {
        let columns = self.columns();
        assert_eq!(rows.ncols(), columns, "a row has the columns of the model");
        score_blocks(rows, 512, threads, |rows, scores| {
            let (mut scratch, mut terms) = (Scratch::default(), vec![0.0; columns]);
            for (row, score) in rows.chunks_exact(columns).zip(scores) {
                self.terms(row, &mut scratch, &mut terms);
                *score = (terms.iter().sum::<f64>() / columns as f64).min(f64::MAX);
            }
        })
    }

    fn attribution(&self, row: ArrayView1<'_, f64>) -> Vec<f64> {
        assert_eq!(row.len(), self.columns(), "a row has the columns of the model");
        let mut terms = vec![0.0; self.columns()];
        self.terms(&row.to_vec(), &mut Scratch::default(), &mut terms);
        shares(terms)
    }

    fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::default();
        self.scaler.write(&mut tensors);
        for (index, layer) in self.layers.iter().enumerate() {
            let shape = [layer.outputs, layer.inputs];
            tensors.insert_f32(&format!("layer.{index}.weight"), &shape, layer.weight.clone());
            tensors.insert_f32(
                &format!("layer.{index}.bias"),
                &[layer.outputs],
                layer.bias.clone(),
            );
        }
        tensors.insert_f64("residual_square", &[self.columns()], self.residual_square.clone());
        tensors
    }

    fn is_ratio_scaled(&self) -> bool {
        true
    }
}
