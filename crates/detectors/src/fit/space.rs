//! Search space: the code of each kind defines which values are tried.

use contract::DetectorKind;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::fit::Fitter;

/// Properties of the data that parameters are drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// Number of features.
    pub columns: usize,
    /// Labels rank the trials.
    pub labelled: bool,
}

/// Parameters that are drawn.
pub struct Space<'a> {
    /// Number of features.
    pub columns: usize,
    /// Random numbers.
    pub random: &'a mut ChaCha8Rng,
    parameters: Value,
}

/// Draws parameters of a kind: some fields are random, the others are those of `given`.
///
/// The scaling of inputs is searched only with labels: criteria without labels favour scalings that
/// enlarge quiet columns (measured: `steps/train/src/search/criterion.rs`).
pub fn draw(kind: DetectorKind, given: &Value, data: Data, random: &mut ChaCha8Rng) -> Value {
    let mut space = Space { columns: data.columns, random, parameters: given.clone() };
    if space.parameters.get("scaling").is_some() && data.labelled {
        let scaling = space.pick(&["min_max", "z_score", "robust"]);
        space.set("scaling", scaling);
    }
    match Fitter::of(kind) {
        Fitter::Rows { draw, .. } => draw(&mut space),
        // They have no parameters to draw.
        Fitter::Sequence(_) | Fitter::Classes(_) => {}
    }
    space.parameters
}

impl Space<'_> {
    /// Sets a parameter.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.parameters[name] = value.into();
    }

    /// Draws one of some values.
    ///
    /// # Panics
    /// If there are no choices.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices.choose(self.random).expect("there is a choice")
    }

    /// Draws a number whose logarithm is uniform.
    pub fn logarithmic(&mut self, low: f64, high: f64) -> f64 {
        self.random.random_range(low.ln()..high.ln()).exp()
    }
}
