//! Training an autoencoder with candle.

mod columns;
mod network;

use std::sync::Arc;

use candle_core::{Device, Var};
use candle_nn::{AdamW, Optimizer as _, ParamsAdamW};
use contract::Outcome;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use ndarray::{Array2, ArrayView2};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use self::columns::Columns;
use self::network::{Network, Reconstruction};
use super::settings::Autoencoder as Settings;
use super::{Autoencoder, Layer};
use crate::fit::space::Space;
use crate::fit::{self, FitError, Fitted, Fitter, Job, Params, ValidParams, rows};
use crate::scaler::single;
use crate::{Detector as _, Scaler};

/// Smallest usual squared residual of a column, as a share of the largest, so that rounding errors
/// of an almost perfectly reproduced column do not raise alarms.
const SMALLEST_SQUARE_SHARE: f64 = 1e-4;

/// What the training of an autoencoder uses besides its settings and rows.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkOptions {
    /// Seed of the random numbers.
    pub seed: u64,
    /// Rows of shape (rows, columns), used only for early stopping.
    pub validation: Option<Array2<f64>>,
}

/// Parameters of the autoencoder.
pub type AutoencoderParams = Params<Settings, NetworkOptions>;

/// How the kind is fitted.
pub(crate) const FITTER: Fitter = Fitter::Rows { fit, draw };

/// Fits the model that a document sets.
fn fit(
    job: &Job<'_>,
    rows: &DatasetBase<Array2<f64>, ()>,
    outcome: &mut Outcome,
) -> Result<Fitted, FitError> {
    let settings = job.models.autoencoder.clone().unwrap_or_default();
    let parameters = fit::parameters(&settings);
    let options = NetworkOptions { seed: job.options.seed, validation: Some((job.validation)()) };
    let params = AutoencoderParams::new(settings, options);
    let fitted = params.fit(rows)?;
    outcome.count("epochs", fitted.losses.len());
    // The losses of each epoch, to show how training converged.
    let series = [("losses", &fitted.losses), ("validation_losses", &fitted.validation_losses)];
    for (name, values) in series {
        outcome.details.insert(name.to_owned(), values.clone().into());
    }
    if let Some(loss) = fitted.losses.last() {
        outcome.metric("loss", *loss);
    }
    if let Some(loss) = fitted.validation_losses.iter().copied().reduce(f64::min) {
        outcome.metric("validation_loss", loss);
    }
    Ok(Fitted::rows(fitted.model, parameters))
}

/// Draws the parameters that a search tries.
fn draw(space: &mut Space<'_>) {
    let columns = space.columns;
    let bottleneck = space.pick(&[columns / 8, columns / 4, columns / 2]).max(2);
    let deep = vec![(2 * bottleneck).min(columns.max(2)), bottleneck, 2 * bottleneck];
    let layers = if space.random.random() { deep } else { vec![bottleneck] };
    space.set("layers", layers);
    let epochs = space.pick(&[10, 20, 40]);
    space.set("epochs", epochs);
    let learning_rate = space.logarithmic(3e-4, 1e-2);
    space.set("learning_rate", learning_rate);
    let noise = space.pick(&[0.0, 0.02, 0.1]);
    space.set("noise", noise);
    let normalise_residuals: bool = space.random.random();
    space.set("normalise_residuals", normalise_residuals);
}

/// A trained network and its losses.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedAutoencoder {
    /// The network.
    pub model: Autoencoder,
    /// Mean loss of each pass over the training rows.
    pub losses: Vec<f64>,
    /// Loss on the validation rows after each pass; empty without early stopping.
    pub validation_losses: Vec<f64>,
}

impl<T> Fit<Array2<f64>, T, FitError> for ValidParams<Settings, NetworkOptions> {
    type Object = FittedAutoencoder;

    fn fit(&self, dataset: &DatasetBase<Array2<f64>, T>) -> Result<FittedAutoencoder, FitError> {
        let records = &dataset.records;
        rows::check(records, 2)?;
        let scaler = Scaler::fit(records.view(), self.settings.scaling);
        let mut random = ChaCha8Rng::seed_from_u64(self.extra.seed);
        let columns = records.ncols();
        let hidden = self.settings.layers.iter().map(|size| *size as usize);
        let sizes: Vec<usize> = [columns].into_iter().chain(hidden).chain([columns]).collect();
        let parameters = first_parameters(&mut random, &sizes);
        let learner = Learner::new(sizes, parameters, self.settings.learning_rate)?;
        let trained = self.train(learner, &scaled(&scaler, records.view()), &scaler, random)?;
        let Trained { layers, losses, validation_losses } = trained;
        let model = self.finish(scaler, layers, records)?;
        Ok(FittedAutoencoder { model, losses, validation_losses })
    }
}

/// Layers after the last pass or, with early stopping, after the best one.
struct Trained {
    layers: Vec<Layer>,
    losses: Vec<f64>,
    validation_losses: Vec<f64>,
}

impl ValidParams<Settings, NetworkOptions> {
    fn train(
        &self,
        mut learner: Learner,
        rows: &Rows,
        scaler: &Scaler,
        mut random: ChaCha8Rng,
    ) -> Result<Trained, FitError> {
        let watched = self.extra.validation.as_ref().filter(|rows| {
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
                let clean = rows.columns(batch);
                let loss = match self.settings.noise {
                    0.0 => learner.step(clean, None)?,
                    noise => learner.step(noisy(&clean, noise, &mut random), Some(clean))?,
                };
                sum += loss * batch.len() as f64;
            }
            if !sum.is_finite() {
                return Err(FitError::Diverged { epoch });
            }
            losses.push(sum / rows.count() as f64);
            let Some(watched) = &watched else { continue };
            let loss = learner.loss(watched)?;
            watched_losses.push(loss);
            if best.as_ref().is_none_or(|(least, _)| loss < *least) {
                (best, since_best) = (Some((loss, learner.layers()?)), 0);
            } else {
                since_best += 1;
            }
            if since_best >= self.settings.patience {
                break;
            }
        }
        let layers = match best {
            Some((_, layers)) => layers,
            None => learner.layers()?,
        };
        Ok(Trained { layers, losses, validation_losses: watched_losses })
    }

    /// Measures each column's usual squared residual on the training rows, if the score uses it.
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
            // Shares of the sum of squares, which is the mean times the number of columns.
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

    fn columns(&self, rows: &[usize]) -> Columns {
        let row = |row: &usize| &self.values[row * self.columns..][..self.columns];
        Columns::of(self.columns, rows.iter().map(row))
    }
}

fn scaled(scaler: &Scaler, rows: ArrayView2<'_, f64>) -> Rows {
    let values =
        rows.indexed_iter().map(|((_, column), value)| single(scaler.scale(column, *value)));
    Rows { values: values.collect(), columns: scaler.columns() }
}

fn noisy(clean: &Columns, noise: f64, random: &mut ChaCha8Rng) -> Columns {
    let mut noisy = clean.clone();
    noisy.change(|value| *value += single(noise * rows::normal(random)));
    noisy
}

/// Draws initial parameters as `PyTorch`'s `Linear` does: weights and biases of a layer are uniform
/// between -1 / sqrt(inputs) and 1 / sqrt(inputs).
fn first_parameters(random: &mut ChaCha8Rng, sizes: &[usize]) -> Vec<f32> {
    let mut parameters = Vec::new();
    for pair in sizes.windows(2) {
        let bound = 1.0 / (pair[0] as f64).sqrt();
        let draws = (0..(pair[0] + 1) * pair[1]).map(|_| 2.0 * rows::uniform(random) - 1.0);
        parameters.extend(draws.map(|draw| single(bound * draw)));
    }
    parameters
}

/// A network under training.
struct Learner {
    sizes: Arc<[usize]>,
    parameters: Var,
    optimiser: AdamW,
}

impl Learner {
    fn new(sizes: Vec<usize>, parameters: Vec<f32>, learning_rate: f64) -> Result<Self, FitError> {
        let count = parameters.len();
        let parameters = Var::from_vec(parameters, count, &Device::Cpu)?;
        // Without decay of the weights this is Adam.
        let adam = ParamsAdamW { lr: learning_rate, weight_decay: 0.0, ..ParamsAdamW::default() };
        let optimiser = AdamW::new(vec![parameters.clone()], adam)?;
        Ok(Self { sizes: sizes.into(), parameters, optimiser })
    }

    /// Moves the parameters by one step of Adam and returns the mean squared error before it.
    fn step(&mut self, input: Columns, target: Option<Columns>) -> Result<f64, FitError> {
        let batch = Reconstruction::new(Arc::clone(&self.sizes), input, target);
        let loss = self.parameters.apply_op1(batch)?;
        self.optimiser.backward_step(&loss)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }

    fn loss(&self, rows: &Rows) -> Result<f64, FitError> {
        let parameters = self.parameters.to_vec1()?;
        let network = Network { sizes: &self.sizes, parameters: &parameters };
        let all: Vec<usize> = (0..rows.count()).collect();
        let of_part = |part: &[usize]| network.loss(&rows.columns(part)) * part.len() as f64;
        Ok(all.chunks(4096).map(of_part).sum::<f64>() / rows.count() as f64)
    }

    fn layers(&self) -> Result<Vec<Layer>, FitError> {
        let parameters = self.parameters.to_vec1()?;
        Ok(Network { sizes: &self.sizes, parameters: &parameters }.layers())
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
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../steps/train/tests/data/reference.json");
        let json: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
        let rows: Vec<Vec<f64>> = json["train"].as_array().unwrap().iter().map(numbers).collect();
        let rows = Array2::from_shape_vec((rows.len(), 6), rows.concat()).unwrap();
        let scaled = scaled(&Scaler::fit(rows.view(), crate::Scaling::MinMax), rows.view());
        let expected = &json["autoencoder"];
        let learning_rate = expected["learning_rate"].as_f64().unwrap();
        let first = layers(&expected["initial"]);
        let sizes = first.iter().map(|layer| layer.inputs).chain([6]).collect();
        let parameters = first.iter().flat_map(|layer| [&layer.weight[..], &layer.bias[..]]);
        let parameters = parameters.flatten().copied().collect();
        let mut learner = Learner::new(sizes, parameters, learning_rate).unwrap();
        let order: Vec<usize> = (0..rows.nrows()).collect();
        let mut losses = numbers(&expected["losses"]).into_iter();
        for _ in 0..20 {
            for batch in order.chunks(64) {
                let loss = learner.step(scaled.columns(batch), None).unwrap();
                let theirs = losses.next().unwrap();
                assert!((loss - theirs).abs() < 1e-4 * theirs, "{loss}, not {theirs}");
            }
        }
        for (ours, theirs) in learner.layers().unwrap().iter().zip(layers(&expected["final"])) {
            for (our, their) in ours.weight.iter().zip(&theirs.weight) {
                assert!((our - their).abs() < 2e-3, "{our}, not {their}");
            }
        }
    }
}
