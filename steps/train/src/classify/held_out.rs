//! Predictions of class models for left-out entities: the split by entity is repeated, and all
//! choices are made on left-out entities.

use contract::classify::{ClassBounds, EvidenceRule};
use detectors::class_trees::Calibration;
use detectors::fit::FitError;
use detectors::fit::FitOptions;
use detectors::fit::cross_validation::mean;
use document::classify::{Classify, EntitySplit};
use models::classify::evidence::{EntityEvidence, Rules};
use models::classify::{ClassModel, Profiles};
use ndarray::Axis;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::fitter::Fitter;
use super::rows::ClassRows;

/// Maximum number of rows used for calibration: more do not change the result.
const CALIBRATION_ROWS: usize = 5000;
/// Weights of evidence that are tried.
const WEIGHTS: [f64; 11] = [1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.03, 0.02];
/// Number of steps in which the bound of the probability is raised.
const RAISES: u32 = 20;
/// Lowest probability at which a class is assigned.
const LEAST_PROBABILITY: f64 = 0.5;
/// Lowest bound of the distance from a class, in spreads of a feature beyond its usual range.
/// Otherwise classes that are very regular in training would reject a window with a tiny
/// difference.
const LEAST_DISTANCE: f64 = 1.0;

/// How entities are left out, repeatedly.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaveOut<'a> {
    pub(crate) split: &'a EntitySplit,
    /// Seed of the first repetition, and threads for all repetitions together.
    pub(crate) options: FitOptions,
}

/// A window of an entity that was left out.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// Share of each class, and its probability once [`apply`] was called.
    pub(crate) shares: Vec<f64>,
    /// Distance from each class.
    pub(crate) distances: Vec<f64>,
}

/// An entity that was left out, with its windows in the order of time.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) class: usize,
    pub(crate) windows: Vec<Window>,
}

/// One repetition: what was fitted, and what was left out.
#[derive(Debug)]
pub(crate) struct Repetition {
    pub(crate) model: ClassModel,
    pub(crate) fitted: Vec<usize>,
    pub(crate) out: Vec<usize>,
    pub(crate) held: Vec<Held>,
}

/// Returns the random numbers of a repetition.
pub(crate) fn random(seed: u64, repetition: u32) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(u64::from(repetition) + 1);
    random
}

/// Splits, fits and predicts left-out entities, as often as the document sets.
pub(crate) fn repeat(
    data: &ClassRows,
    fitter: &Fitter,
    LeaveOut { split, options }: LeaveOut<'_>,
) -> Result<Vec<Repetition>, FitError> {
    let windows = data.windows_of_unit(split.iterations);
    let repetition = |number: u32| {
        let [fitted, out] = data.split(split.ratio, &mut random(options.seed, number));
        let rows = data.of_repetition(&fitted);
        let seed = options.seed.wrapping_add(u64::from(number));
        let model = fitter.fit(data, &rows, FitOptions { seed, threads: 1 })?;
        let classes: Vec<usize> = rows.iter().map(|row| data.class[*row]).collect();
        let values = data.values.select(Axis(0), &rows);
        let profiles = Profiles::fit(&data.features, values.view(), &classes, &data.classes);
        let distances = profiles.measure();
        let of_unit = |unit: &usize| {
            let unit = &data.units[*unit];
            let windows = unit.rows.iter().take(windows).map(|row| {
                let row = data.values.row(*row).to_vec();
                Window { shares: model.shares(&row), distances: distances.of(&row) }
            });
            Held { class: unit.class, windows: windows.collect() }
        };
        let held = out.iter().map(of_unit).collect();
        Ok(Repetition { model, fitted, out, held })
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads.max(1)).build()?;
    pool.install(|| (0..split.iterations).into_par_iter().map(repetition).collect())
}

/// Returns the document's rule of evidence, in windows of a step.
pub(crate) fn rule(classify: &Classify, step: contract::Span) -> EvidenceRule {
    let evidence = &classify.evidence;
    EvidenceRule {
        min_windows: evidence.min_windows,
        half_life_windows: evidence.half_life.seconds() / step.seconds(),
        deadline_windows: u32::try_from(evidence.deadline.in_steps(step)).unwrap_or(u32::MAX),
    }
}

/// Finds the calibration with the lowest log loss on left-out rows; every class has the same
/// weight.
pub(crate) fn calibrate(repetitions: &[Repetition], classes: usize) -> (Calibration, f64) {
    let rows: Vec<(usize, &Vec<f64>)> = repetitions
        .iter()
        .flat_map(|repetition| &repetition.held)
        .flat_map(|held| held.windows.iter().map(|window| (held.class, &window.shares)))
        .collect();
    let every = rows.len().div_ceil(CALIBRATION_ROWS).max(1);
    let rows: Vec<(usize, &Vec<f64>)> = rows.into_iter().step_by(every).collect();
    // Exponents from 1/4 to 4.
    let exponents = (0..=10).map(|step| 2.0_f64.powf(f64::from(step) * 0.4 - 2.0));
    let exponents: Vec<f64> = exponents.collect();
    let smoothings = [1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1];
    let tried = smoothings.iter().flat_map(|smoothing| {
        exponents.iter().map(|exponent| Calibration { smoothing: *smoothing, exponent: *exponent })
    });
    let tried: Vec<Calibration> = tried.collect();
    let loss = |calibration: Calibration| (calibration, log_loss(&rows, calibration, classes));
    let losses: Vec<(Calibration, f64)> = tried.into_par_iter().map(loss).collect();
    let first = (Calibration::NONE, f64::INFINITY);
    losses.into_iter().fold(first, |best, found| if found.1 < best.1 { found } else { best })
}

/// Turns the shares of all windows into probabilities.
pub(crate) fn apply(calibration: Calibration, repetitions: &mut [Repetition]) {
    for window in repetitions
        .iter_mut()
        .flat_map(|repetition| &mut repetition.held)
        .flat_map(|held| &mut held.windows)
    {
        calibration.apply(&mut window.shares);
    }
}

fn log_loss(rows: &[(usize, &Vec<f64>)], calibration: Calibration, classes: usize) -> f64 {
    let mut sums = vec![(0.0, 0.0); classes];
    let mut shares = Vec::with_capacity(classes);
    for (class, raw) in rows {
        shares.clear();
        shares.extend_from_slice(raw);
        calibration.apply(&mut shares);
        sums[*class].0 -= shares[*class].max(f64::MIN_POSITIVE).ln();
        sums[*class].1 += 1.0;
    }
    mean(sums.iter().filter(|(_, rows)| *rows > 0.0).map(|(sum, rows)| sum / rows))
}

/// Calls `each` with the evidence of an entity after each of its windows, whose shares are
/// probabilities.
pub(crate) fn follow(
    held: &Held,
    rule: &EvidenceRule,
    bounds: &ClassBounds,
    mut each: impl FnMut(usize, &EntityEvidence),
) {
    let classes = held.windows.first().map_or(0, |window| window.shares.len());
    let start = contract::Timestamp::from_ms(0);
    let mut evidence = EntityEvidence::new(classes, start, "");
    for (number, window) in held.windows.iter().enumerate() {
        evidence.observe(start, &window.shares, &window.distances, Rules { rule, bounds });
        each(number + 1, &evidence);
    }
}

/// Returns bounds under which no class is assigned, with a weight of evidence.
fn open(weight: f64) -> ClassBounds {
    ClassBounds {
        probability: 2.0,
        starting_distance: None,
        settled_distance: None,
        evidence_weight: weight,
    }
}

/// Chooses when a class is assigned: the weight of evidence with the lowest log loss, the lowest
/// probability that keeps the share of wrong classes within the limit, and the distance that
/// correct classes stay below.
pub(crate) fn choose_bounds(
    repetitions: &[Repetition],
    classify: &Classify,
    rule: &EvidenceRule,
) -> ClassBounds {
    let held: Vec<&Held> = repetitions.iter().flat_map(|repetition| &repetition.held).collect();
    let bounds = open(best_weight(&held, rule));
    let [starting_distance, settled_distance] = distance_bounds(&held, classify, rule);
    let bounds = ClassBounds {
        probability: probability_bound(&held, classify, rule, &bounds),
        starting_distance,
        settled_distance,
        evidence_weight: bounds.evidence_weight,
    };
    raised(&held, classify, rule, bounds)
}

/// Returns the weight of evidence with the least log loss; every entity counts the same.
fn best_weight(held: &[&Held], rule: &EvidenceRule) -> f64 {
    let losses_of = |held: &&Held| {
        let (mut sums, mut count) = ([0.0; WEIGHTS.len()], 0.0_f64);
        follow(held, rule, &open(1.0), |number, evidence| {
            if number >= rule.min_windows as usize {
                for (sum, weight) in sums.iter_mut().zip(WEIGHTS) {
                    let probability = evidence.probabilities(&open(weight))[held.class];
                    *sum -= probability.max(1e-12).ln();
                }
                count += 1.0;
            }
        });
        sums.map(|sum| sum / count.max(1.0))
    };
    let losses: Vec<[f64; WEIGHTS.len()]> = held.par_iter().map(losses_of).collect();
    let of_weight = |(place, weight)| (weight, mean(losses.iter().map(|losses| losses[place])));
    let found = WEIGHTS.into_iter().enumerate().map(of_weight);
    found.fold((1.0, f64::INFINITY), |best, it| if it.1 < best.1 { it } else { best }).0
}

/// Raises the bound of the probability until the final classes are wrong for no more entities than
/// the document allows: a wrong class is kept once it was assigned.
fn raised(
    held: &[&Held],
    classify: &Classify,
    rule: &EvidenceRule,
    mut bounds: ClassBounds,
) -> ClassBounds {
    let lowest = bounds.probability;
    let allowed = classify.unknown.max_wrong_ratio * held.len() as f64;
    for step in 1..=RAISES {
        let is_wrong = |held: &&&Held| {
            let mut name = None;
            follow(held, rule, &bounds, |_, evidence| name = evidence.class);
            name.is_some_and(|name| name as usize != held.class)
        };
        if held.par_iter().filter(is_wrong).count() as f64 <= allowed {
            break;
        }
        bounds.probability = lowest + (0.9999 - lowest) * f64::from(step) / f64::from(RAISES);
    }
    bounds
}

/// Returns the lowest probability at which no larger share of windows gets a wrong class than the
/// document allows; every entity counts the same.
fn probability_bound(
    held: &[&Held],
    classify: &Classify,
    rule: &EvidenceRule,
    bounds: &ClassBounds,
) -> f64 {
    let named_of = |held: &&Held| {
        let mut named: Vec<(f64, bool)> = Vec::new();
        follow(held, rule, bounds, |number, evidence| {
            if number >= rule.min_windows as usize {
                let nearest = evidence.nearest(bounds);
                named.push((nearest.probability, nearest.class != held.class));
            }
        });
        let share = 1.0 / named.len().max(1) as f64;
        named.into_iter().map(move |(probability, wrong)| (probability, wrong, share))
    };
    let mut named: Vec<(f64, bool, f64)> = held.par_iter().flat_map_iter(named_of).collect();
    named.sort_by(|a, b| b.0.total_cmp(&a.0));
    let allowed = classify.unknown.max_wrong_ratio * held.len() as f64;
    let (mut wrong, mut bound) = (0.0, 1.0);
    for (probability, is_wrong, share) in named {
        wrong += if is_wrong { share } else { 0.0 };
        if wrong > allowed || probability < LEAST_PROBABILITY {
            break;
        }
        bound = probability;
    }
    f64::max(bound, LEAST_PROBABILITY)
}

/// Returns the distances from the correct class that all but the allowed share of entities stay
/// within: after each of their windows before the deadline, and after each of the later ones. `None`
/// if the document sets no bound, or no entity has such windows.
fn distance_bounds(held: &[&Held], classify: &Classify, rule: &EvidenceRule) -> [Option<f64>; 2] {
    let unlike_ratio = classify.unknown.unlike_ratio;
    if unlike_ratio <= 0.0 {
        return [None, None];
    }
    let furthest_of = |held: &&Held| {
        let mut furthest: [Option<f64>; 2] = [None, None];
        follow(held, rule, &open(1.0), |_, evidence| {
            if evidence.windows >= rule.min_windows {
                let is_settled = evidence.windows >= rule.deadline_windows;
                let furthest = &mut furthest[usize::from(is_settled)];
                let distance = evidence.distance(held.class);
                *furthest = Some(furthest.map_or(distance, |furthest| furthest.max(distance)));
            }
        });
        furthest
    };
    let furthest: Vec<[Option<f64>; 2]> = held.par_iter().map(furthest_of).collect();
    [0, 1].map(|phase| {
        let of_phase = furthest.iter().filter_map(|furthest| furthest[phase]);
        within(of_phase.collect(), unlike_ratio).map(|bound| bound.max(LEAST_DISTANCE))
    })
}

/// Returns the smallest of the distances that no more than a share of them exceed.
fn within(mut distances: Vec<f64>, share: f64) -> Option<f64> {
    distances.sort_by(f64::total_cmp);
    let place = (1.0 - share) * distances.len().checked_sub(1)? as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the number of entities"
    )]
    let place = place.ceil() as usize;
    distances.get(place).copied()
}
