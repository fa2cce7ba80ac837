//! What a search draws parameters from.
//!
//! The scaling of inputs is searched only with labels: criteria without labels favour scalings that
//! enlarge quiet columns (measured, see [`super::criterion`]).

use contract::DetectorKind;
use rand::Rng;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};

/// What is known of the data that parameters are drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// Number of features.
    pub columns: usize,
    /// Labels rank the trials.
    pub labelled: bool,
}

/// Draws parameters of a kind: some fields are random, the others as given.
pub fn draw(kind: DetectorKind, given: &Value, data: Data, random: &mut impl Rng) -> Value {
    let columns = data.columns;
    let mut parameters = given.clone();
    let scaled = parameters.get("scaling").is_some() && data.labelled;
    let mut set = |name: &str, value: Value| parameters[name] = value;
    if scaled {
        set("scaling", json!(pick(&["min_max", "z_score", "robust"], random)));
    }
    match kind {
        DetectorKind::Autoencoder => {
            let bottleneck = pick(&[columns / 8, columns / 4, columns / 2], random).max(2);
            let deep = vec![(2 * bottleneck).min(columns.max(2)), bottleneck, 2 * bottleneck];
            set("layers", if random.random() { json!(deep) } else { json!([bottleneck]) });
            set("epochs", json!(pick(&[10, 20, 40], random)));
            set("learning_rate", json!(logarithmic(3e-4, 1e-2, random)));
            set("noise", json!(pick(&[0.0, 0.02, 0.1], random)));
            set("normalise_residuals", json!(random.random::<bool>()));
        }
        DetectorKind::IsolationForest => {
            set("trees", json!(pick(&[50, 100, 200], random)));
            set("samples", json!(pick(&[64, 128, 256, 512, 1024], random)));
            set("extension", json!(pick(&[0, 0, 1, 2], random).min(columns.saturating_sub(1))));
        }
        DetectorKind::Mahalanobis => {
            set("ridge", json!(logarithmic(1e-3, 1.0, random)));
            set("min_std", json!(logarithmic(1e-4, 1e-1, random)));
        }
        DetectorKind::OneClassSvm => {
            set("nu", json!(logarithmic(5e-3, 0.2, random)));
            set("gamma", json!(logarithmic(0.05, 5.0, random) / columns.max(1) as f64));
        }
        DetectorKind::ZScore => set("threshold", json!(random.random_range(0.0..6.0))),
        // They have no parameters to draw.
        DetectorKind::Adaptive
        | DetectorKind::DecisionTree
        | DetectorKind::GradientBoosting
        | DetectorKind::RandomForest => {}
    }
    parameters
}

fn pick<T: Copy>(choices: &[T], random: &mut impl Rng) -> T {
    *choices.choose(random).expect("there is a choice")
}

/// Draws a number whose logarithm is uniform.
fn logarithmic(low: f64, high: f64, random: &mut impl Rng) -> f64 {
    random.random_range(low.ln()..high.ln()).exp()
}
