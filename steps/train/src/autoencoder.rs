//! Training an autoencoder with candle.

use candle_core::{Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer as _, ParamsAdamW};
use document::models::Autoencoder as Settings;
use linfa::ParamGuard;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use models::autoencoder::{Autoencoder, Layer};
use models::scaler::single;
use models::{Detector as _, Scaler};
use ndarray::{Array2, ArrayView2};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::linear::linear;
use crate::{FitError, rows};

/// Smallest usual squared residual of a column, as a share of the largest: what a network
/// reproduces almost perfectly must not turn rounding into an alarm.
const SMALLEST_SQUARE_SHARE: f64 = 1e-4;

/// Checked parameters of the autoencoder.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoencoderValidParams {
    settings: Settings,
    seed: u64,
    validation: Option<Array2<f64>>,
}

/// Parameters of the autoencoder.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoencoderParams(AutoencoderValidParams);

impl AutoencoderParams {
    /// Takes the document's parameters. The validation rows serve early stopping alone.
    pub fn new(settings: Settings, seed: u64, validation: Option<Array2<f64>>) -> Self {
        Self(AutoencoderValidParams { settings, seed, validation })
    }
}

impl ParamGuard for AutoencoderParams {
    type Checked = AutoencoderValidParams;
    type Error = FitError;

    fn check_ref(&self) -> Result<&Self::Checked, FitError> {
        let Settings { layers, epochs, batch, learning_rate, noise, .. } = &self.0.settings;
        let sizes = || format!("{layers:?}");
        if layers.is_empty() || layers.len() > 16 {
            return Err(FitError::parameter("layers", sizes(), "1 to 16 sizes"));
        }
        if layers.iter().any(|size| !(1..=4096).contains(size)) {
            return Err(FitError::parameter("layers", sizes(), "sizes from 1 to 4096"));
        }
        if !(1..=10_000).contains(epochs) {
            return Err(FitError::parameter("epochs", epochs, "1 to 10000"));
        }
        if *batch == 0 {
            return Err(FitError::parameter("batch", batch, "1 or more"));
        }
        if !(*learning_rate > 0.0 && *learning_rate <= 1.0) {
            return Err(FitError::parameter(
                "learning_rate",
                learning_rate,
                "above 0 and at most 1",
            ));
        }
        if !(*noise >= 0.0 && *noise <= 100.0) {
            return Err(FitError::parameter("noise", noise, "0 to 100"));
        }
        Ok(&self.0)
    }

    fn check(self) -> Result<Self::Checked, FitError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

/// A trained network and how training went.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedAutoencoder {
    /// The network.
    pub model: Autoencoder,
    /// Mean loss of each pass over the training rows.
    pub losses: Vec<f64>,
    /// Loss on the validation rows after each pass; empty without early stopping.
    pub validation_losses: Vec<f64>,
}

impl<T> Fit<Array2<f64>, T, FitError> for AutoencoderValidParams {
    type Object = FittedAutoencoder;

    fn fit(&self, dataset: &DatasetBase<Array2<f64>, T>) -> Result<FittedAutoencoder, FitError> {
        let records = &dataset.records;
        rows::check(records, 2)?;
        let scaler = Scaler::fit(records.view(), rows::scaling(self.settings.scaling));
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let columns = records.ncols();
        let hidden = self.settings.layers.iter().map(|size| *size as usize);
        let sizes: Vec<usize> = [columns].into_iter().chain(hidden).chain([columns]).collect();
        let layers: Vec<Layer> =
            sizes.windows(2).map(|pair| first_layer(&mut random, pair[0], pair[1])).collect();
        let network = Network::new(&layers, self.settings.learning_rate)?;
        let trained = self.train(network, &scaled(&scaler, records.view()), &scaler, random)?;
        let Trained { layers, losses, validation_losses } = trained;
        let model = self.finish(scaler, layers, records)?;
        Ok(FittedAutoencoder { model, losses, validation_losses })
    }
}

/// Layers after the last pass, or after the best one where passes were watched.
struct Trained {
    layers: Vec<Layer>,
    losses: Vec<f64>,
    validation_losses: Vec<f64>,
}

impl AutoencoderValidParams {
    fn train(
        &self,
        mut network: Network,
        rows: &Rows,
        scaler: &Scaler,
        mut random: ChaCha8Rng,
    ) -> Result<Trained, FitError> {
        let watched = self.validation.as_ref().filter(|rows| {
            self.settings.patience > 0 && rows.nrows() > 0 && rows.ncols() == scaler.columns()
        });
        let watched = watched.map(|rows| scaled(scaler, rows.view()));
        let mut order: Vec<usize> = (0..rows.count()).collect();
        let (mut losses, mut watched_losses) = (Vec::new(), Vec::new());
        let mut best: Option<(f64, Vec<Layer>)> = None;
        let mut since_best = 0;
        for epoch in 1..=self.settings.epochs {
            rows::shuffle(&mut random, &mut order);
            let mut sum = 0.0;
            for batch in order.chunks(self.settings.batch as usize) {
                let clean = rows.tensor(batch)?;
                let loss = match self.settings.noise {
                    0.0 => network.step(&clean, &clean)?,
                    noise => network.step(&noisy(&clean, noise, &mut random)?, &clean)?,
                };
                sum += loss * batch.len() as f64;
            }
            if !sum.is_finite() {
                return Err(FitError::Diverged { epoch });
            }
            losses.push(sum / rows.count() as f64);
            let Some(watched) = &watched else { continue };
            let loss = network.loss(watched)?;
            watched_losses.push(loss);
            if best.as_ref().is_none_or(|(least, _)| loss < *least) {
                (best, since_best) = (Some((loss, network.layers()?)), 0);
            } else {
                since_best += 1;
            }
            if since_best >= self.settings.patience {
                break;
            }
        }
        let layers = match best {
            Some((_, layers)) => layers,
            None => network.layers()?,
        };
        Ok(Trained { layers, losses, validation_losses: watched_losses })
    }

    /// Measures each column's usual squared residual on the training rows, if it is to count.
    fn finish(
        &self,
        scaler: Scaler,
        layers: Vec<Layer>,
        records: &Array2<f64>,
    ) -> Result<Autoencoder, FitError> {
        let columns = scaler.columns();
        let plain = Autoencoder::new(scaler.clone(), layers.clone(), vec![1.0; columns])
            .map_err(FitError::Model)?;
        if !self.settings.normalise_residuals {
            return Ok(plain);
        }
        let mut squares = vec![0.0; columns];
        let decisions = plain.decision(records.view(), 1);
        for (row, decision) in records.rows().into_iter().zip(decisions) {
            // Shares of the sum of squares, which is the mean times the columns.
            let total = decision * columns as f64;
            let shares = plain.attribution(row);
            squares.iter_mut().zip(shares).for_each(|(square, share)| *square += share * total);
        }
        squares.iter_mut().for_each(|square| *square /= records.nrows() as f64);
        let largest = squares.iter().copied().fold(0.0, f64::max).max(1e-12);
        squares.iter_mut().for_each(|square| *square = square.max(SMALLEST_SQUARE_SHARE * largest));
        Autoencoder::new(scaler, layers, squares).map_err(FitError::Model)
    }
}

/// Scaled rows, one after another.
struct Rows {
    values: Vec<f32>,
    columns: usize,
}

impl Rows {
    fn count(&self) -> usize {
        self.values.len() / self.columns
    }

    fn tensor(&self, rows: &[usize]) -> Result<Tensor, FitError> {
        let values = rows.iter().flat_map(|row| &self.values[row * self.columns..][..self.columns]);
        let values: Vec<f32> = values.copied().collect();
        Ok(Tensor::from_vec(values, (rows.len(), self.columns), &Device::Cpu)?)
    }
}

fn scaled(scaler: &Scaler, rows: ArrayView2<'_, f64>) -> Rows {
    let values =
        rows.indexed_iter().map(|((_, column), value)| single(scaler.scale(column, *value)));
    Rows { values: values.collect(), columns: scaler.columns() }
}

fn noisy(clean: &Tensor, noise: f64, random: &mut ChaCha8Rng) -> Result<Tensor, FitError> {
    let draws = (0..clean.elem_count()).map(|_| single(noise * rows::normal(random))).collect();
    let draws: Vec<f32> = draws;
    Ok((clean + Tensor::from_vec(draws, clean.shape(), &Device::Cpu)?)?)
}

/// Draws a layer as `PyTorch`'s `Linear` starts: weights and biases evenly between
/// -1 / sqrt(inputs) and 1 / sqrt(inputs).
fn first_layer(random: &mut ChaCha8Rng, inputs: usize, outputs: usize) -> Layer {
    let bound = 1.0 / (inputs as f64).sqrt();
    let mut draw = |count: usize| -> Vec<f32> {
        (0..count).map(|_| single(bound * (2.0 * rows::uniform(random) - 1.0))).collect()
    };
    Layer { inputs, outputs, weight: draw(inputs * outputs), bias: draw(outputs) }
}

/// A network under training.
struct Network {
    layers: Vec<(Var, Var)>,
    optimiser: AdamW,
}

impl Network {
    fn new(layers: &[Layer], learning_rate: f64) -> Result<Self, FitError> {
        let variables = |layer: &Layer| -> Result<(Var, Var), FitError> {
            let shape = (layer.outputs, layer.inputs);
            let weight = Var::from_vec(layer.weight.clone(), shape, &Device::Cpu)?;
            Ok((weight, Var::from_vec(layer.bias.clone(), layer.outputs, &Device::Cpu)?))
        };
        let layers = layers.iter().map(variables).collect::<Result<Vec<_>, _>>()?;
        let all = layers.iter().flat_map(|(weight, bias)| [weight.clone(), bias.clone()]).collect();
        // Without decay of the weights this is Adam.
        let parameters =
            ParamsAdamW { lr: learning_rate, weight_decay: 0.0, ..ParamsAdamW::default() };
        Ok(Self { layers, optimiser: AdamW::new(all, parameters)? })
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor, FitError> {
        let mut output = input.clone();
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            output = linear(&output, weight, bias)?;
            if index + 1 < self.layers.len() {
                output = output.relu()?;
            }
        }
        Ok(output)
    }

    /// Moves the weights by one step of Adam and returns the mean squared error before it.
    fn step(&mut self, input: &Tensor, target: &Tensor) -> Result<f64, FitError> {
        let loss = (self.forward(input)? - target)?.sqr()?.mean_all()?;
        self.optimiser.backward_step(&loss)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }

    fn loss(&self, rows: &Rows) -> Result<f64, FitError> {
        let all: Vec<usize> = (0..rows.count()).collect();
        let mut sum = 0.0;
        for batch in all.chunks(4096) {
            let batch = rows.tensor(batch)?;
            let loss = (self.forward(&batch)? - &batch)?.sqr()?.mean_all()?;
            sum += f64::from(loss.to_scalar::<f32>()?) * batch.dim(0)? as f64;
        }
        Ok(sum / rows.count() as f64)
    }

    fn layers(&self) -> Result<Vec<Layer>, FitError> {
        let layer = |(weight, bias): &(Var, Var)| -> Result<Layer, FitError> {
            let (outputs, inputs) = weight.dims2()?;
            let weight = weight.flatten_all()?.to_vec1()?;
            Ok(Layer { inputs, outputs, weight, bias: bias.to_vec1()? })
        };
        self.layers.iter().map(layer).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    fn layers(value: &Value) -> Vec<Layer> {
        let single =
            |value: &Value| -> Vec<f32> { numbers(value).iter().map(|n| single(*n)).collect() };
        let layer = |layer: &Value| {
            let (weight, bias) = (single(&layer["weight"]), single(&layer["bias"]));
            Layer { inputs: weight.len() / bias.len(), outputs: bias.len(), weight, bias }
        };
        value.as_array().unwrap().iter().map(layer).collect()
    }

    #[test]
    fn losses_and_weights_are_those_of_pytorch_step_by_step() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/reference.json");
        let json: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
        let rows: Vec<Vec<f64>> = json["train"].as_array().unwrap().iter().map(numbers).collect();
        let rows = Array2::from_shape_vec((rows.len(), 6), rows.concat()).unwrap();
        let scaled = scaled(&Scaler::fit(rows.view(), models::Scaling::MinMax), rows.view());
        let expected = &json["autoencoder"];
        let learning_rate = expected["learning_rate"].as_f64().unwrap();
        let mut network = Network::new(&layers(&expected["initial"]), learning_rate).unwrap();
        let order: Vec<usize> = (0..rows.nrows()).collect();
        let mut losses = numbers(&expected["losses"]).into_iter();
        for _ in 0..20 {
            for batch in order.chunks(64) {
                let batch = scaled.tensor(batch).unwrap();
                let (loss, theirs) =
                    (network.step(&batch, &batch).unwrap(), losses.next().unwrap());
                assert!((loss - theirs).abs() < 1e-4 * theirs, "{loss}, not {theirs}");
            }
        }
        for (ours, theirs) in network.layers().unwrap().iter().zip(layers(&expected["final"])) {
            for (our, their) in ours.weight.iter().zip(&theirs.weight) {
                assert!((our - their).abs() < 2e-3, "{our}, not {their}");
            }
        }
    }
}
