//! Metrics of a class model on left-out entities: confusion, precision and recall, learning curve,
//! importances.

use std::collections::BTreeMap;

use contract::classify::{
    ClassBounds, ClassFigures, ClassRecord, CurvePoint, EvidenceRule, Importance, Interval, UNKNOWN,
};
use detectors::fit::FitError;
use detectors::fit::FitOptions;
use detectors::fit::cross_validation::{likeliest, mean};
use detectors::fit::rows::shuffle;
use rayon::prelude::*;

use super::fitter::Fitter;
use super::held_out::{Held, LeaveOut, Repetition, follow, random};
use super::rows::ClassRows;

/// Number of repetitions used for the learning curve and importances.
const FEW: usize = 5;
/// Number of left-out rows used for an importance, in each repetition.
const IMPORTANCE_ROWS: usize = 400;

/// What was chosen on the repetitions.
pub(crate) struct Chosen {
    pub(crate) log_loss: f64,
    pub(crate) rule: EvidenceRule,
    pub(crate) bounds: ClassBounds,
}

/// Counts of rows or entities per class: total, and correctly classified.
struct Recall(Vec<(f64, f64)>);

impl Recall {
    fn new(classes: usize) -> Self {
        Self(vec![(0.0, 0.0); classes])
    }

    fn count(&mut self, class: usize, is_right: bool) {
        self.0[class].0 += 1.0;
        self.0[class].1 += f64::from(u8::from(is_right));
    }

    /// Returns the mean over the classes of the share that is correct.
    fn balanced(&self) -> f64 {
        mean(self.0.iter().filter(|(rows, _)| *rows > 0.0).map(|(rows, right)| right / rows))
    }
}

/// Final class of a left-out entity.
struct Called {
    class: usize,
    name: Option<usize>,
    /// Number of windows after which its class was correct and stayed correct.
    right_after: Option<usize>,
}

fn call(held: &Held, chosen: &Chosen) -> Called {
    let mut called = Called { class: held.class, name: None, right_after: None };
    follow(held, &chosen.rule, &chosen.bounds, |number, evidence| {
        called.name = evidence.class.map(|class| class as usize);
        let is_right = called.name == Some(held.class);
        called.right_after = called.right_after.or(Some(number)).filter(|_| is_right);
    });
    called
}

/// Sums up the repetitions.
pub(crate) fn sum_up(
    data: &ClassRows,
    fitter: &Fitter,
    leave_out: LeaveOut<'_>,
    repetitions: &[Repetition],
    chosen: &Chosen,
) -> Result<ClassFigures, FitError> {
    let classes = data.classes.len();
    let called: Vec<Vec<Called>> = repetitions
        .iter()
        .map(|repetition| repetition.held.iter().map(|held| call(held, chosen)).collect())
        .collect();
    let balanced = |called: &Vec<Called>| {
        let mut recall = Recall::new(classes);
        called.iter().for_each(|it| recall.count(it.class, it.name == Some(it.class)));
        recall.balanced()
    };
    let by_repetition: Vec<f64> = called.iter().map(balanced).collect();
    let all: Vec<&Called> = called.iter().flatten().collect();
    let count = all.len().max(1) as f64;
    let wrong = all.iter().filter(|it| it.name.is_some_and(|name| name != it.class)).count();
    let unknown = all.iter().filter(|it| it.name.is_none()).count();
    let mut named = Recall::new(classes);
    all.iter()
        .filter(|it| it.name.is_some())
        .for_each(|it| named.count(it.class, it.name == Some(it.class)));
    let mut times: Vec<usize> = all.iter().filter_map(|it| it.right_after).collect();
    times.sort_unstable();
    let rows: Vec<f64> =
        repetitions.iter().map(|repetition| row_accuracy(&repetition.held, classes)).collect();
    Ok(ClassFigures {
        iterations: leave_out.split.iterations,
        entities: data.units.len() as u64,
        rows: data.class.len() as u64,
        row_balanced_accuracy: Interval::of(&rows),
        log_loss: chosen.log_loss,
        balanced_accuracy: Interval::of(&by_repetition),
        balanced_accuracy_of_named: named.balanced(),
        wrong_ratio: wrong as f64 / count,
        unknown_ratio: unknown as f64 / count,
        windows_to_right: times.get(times.len() / 2).map(|windows| *windows as f64),
        confusion: confusion(data, &all),
        classes: records(data, &all),
        learning_curve: learning_curve(data, fitter, leave_out, repetitions)?,
        importances: importances(data, leave_out.options, repetitions)?,
    })
}

fn row_accuracy(held: &[Held], classes: usize) -> f64 {
    let mut recall = Recall::new(classes);
    for held in held {
        for window in &held.windows {
            recall.count(held.class, likeliest(&window.shares) == held.class);
        }
    }
    recall.balanced()
}

fn confusion(data: &ClassRows, called: &[&Called]) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut confusion: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for Called { class, name, .. } in called {
        let name = name.map_or(UNKNOWN, |name| data.classes[name].as_str());
        let row = confusion.entry(data.classes[*class].clone()).or_default();
        *row.entry(name.to_owned()).or_insert(0) += 1;
    }
    confusion
}

fn records(data: &ClassRows, called: &[&Called]) -> Vec<ClassRecord> {
    let units = data.units_of_classes();
    let record = |class: usize| {
        let of_class = called.iter().filter(|it| it.class == class);
        let as_class = called.iter().filter(|it| it.name == Some(class));
        let right = called.iter().filter(|it| it.class == class && it.name == Some(class)).count();
        let share = |total: usize| if total > 0 { right as f64 / total as f64 } else { 0.0 };
        ClassRecord {
            class: data.classes[class].clone(),
            entities: units[class],
            rows: data.class.iter().filter(|of| **of == class).count() as u64,
            precision: share(as_class.count()),
            recall: share(of_class.count()),
        }
    };
    (0..data.classes.len()).map(record).collect()
}

/// Fits on a part of the entities of a repetition, at least one of each class, and predicts the
/// same left-out rows.
fn learning_curve(
    data: &ClassRows,
    fitter: &Fitter,
    LeaveOut { split, options }: LeaveOut<'_>,
    repetitions: &[Repetition],
) -> Result<Vec<CurvePoint>, FitError> {
    let few = &repetitions[..repetitions.len().min(FEW)];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads.max(1)).build()?;
    let point = |point: u32| {
        let share = f64::from(point) / f64::from(split.learning_curve);
        let of_repetition = |(number, repetition): (usize, &Repetition)| {
            let units = part(data, &repetition.fitted, share);
            let count = units.len() as u64;
            let seed = options.seed.wrapping_add(number as u64);
            let fitted;
            let model = if units.len() == repetition.fitted.len() {
                &repetition.model
            } else {
                fitted = fitter.fit(
                    data,
                    &data.of_repetition(&units),
                    FitOptions { seed, threads: 1 },
                )?;
                &fitted
            };
            let mut recall = Recall::new(data.classes.len());
            for row in rows_left_out(data, &repetition.out) {
                let found = likeliest(&model.shares(&data.values.row(row).to_vec()));
                recall.count(data.class[row], found == data.class[row]);
            }
            Ok((count, recall.balanced()))
        };
        let found = few.iter().enumerate().map(of_repetition);
        let found = found.collect::<Result<Vec<(u64, f64)>, FitError>>()?;
        let accuracy: Vec<f64> = found.iter().map(|(_, accuracy)| *accuracy).collect();
        Ok(CurvePoint {
            entities: found.first().map_or(0, |(entities, _)| *entities),
            balanced_accuracy: Interval::of(&accuracy),
        })
    };
    let points = || (1..=split.learning_curve).into_par_iter().map(point);
    let mut points = pool.install(|| points().collect::<Result<Vec<CurvePoint>, FitError>>())?;
    points.dedup_by_key(|point| point.entities);
    Ok(points)
}

/// Returns the first share of the units of each class, at least one.
fn part(data: &ClassRows, units: &[usize], share: f64) -> Vec<usize> {
    let mut part = Vec::new();
    for class in 0..data.classes.len() {
        let of_class: Vec<usize> =
            units.iter().copied().filter(|unit| data.units[*unit].class == class).collect();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the number of units"
        )]
        let count = (share * of_class.len() as f64).round() as usize;
        part.extend_from_slice(
            &of_class[..count.clamp(1, of_class.len().max(1)).min(of_class.len())],
        );
    }
    part
}

/// Returns evenly spaced rows of the left-out units.
fn rows_left_out(data: &ClassRows, out: &[usize]) -> Vec<usize> {
    let rows: Vec<usize> =
        out.iter().flat_map(|unit| data.units[*unit].rows.iter().copied()).collect();
    let every = rows.len().div_ceil(IMPORTANCE_ROWS).max(1);
    rows.into_iter().step_by(every).collect()
}

/// Exchanges the values of one feature between left-out rows, and returns the loss (permutation
/// importance; Breiman: Random Forests, 2001).
fn importances(
    data: &ClassRows,
    FitOptions { seed, threads }: FitOptions,
    repetitions: &[Repetition],
) -> Result<Vec<Importance>, FitError> {
    let few = &repetitions[..repetitions.len().min(FEW)];
    let accuracy =
        |repetition: &Repetition, rows: &[usize], exchanged: Option<(usize, &[usize])>| {
            let mut recall = Recall::new(data.classes.len());
            for (place, row) in rows.iter().enumerate() {
                let mut values = data.values.row(*row).to_vec();
                if let Some((feature, order)) = exchanged {
                    values[feature] = data.values[[order[place], feature]];
                }
                let found = likeliest(&repetition.model.shares(&values));
                recall.count(data.class[*row], found == data.class[*row]);
            }
            recall.balanced()
        };
    let whole: Vec<(Vec<usize>, f64)> = few
        .iter()
        .map(|repetition| {
            let rows = rows_left_out(data, &repetition.out);
            let usual = accuracy(repetition, &rows, None);
            (rows, usual)
        })
        .collect();
    let of_feature = |feature: usize| {
        let losses =
            few.iter().zip(&whole).enumerate().map(|(number, (repetition, (rows, usual)))| {
                let stream = u32::try_from(feature * FEW + number).unwrap_or(0);
                let mut order = rows.clone();
                shuffle(&mut random(seed ^ 0x1357, stream), &mut order);
                usual - accuracy(repetition, rows, Some((feature, &order)))
            });
        let loss = Interval::of(&losses.collect::<Vec<f64>>());
        Importance { feature: data.features[feature].clone(), loss }
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build()?;
    let mut importances: Vec<Importance> =
        pool.install(|| (0..data.features.len()).into_par_iter().map(of_feature).collect());
    importances.sort_by(|a, b| b.loss.mean.total_cmp(&a.loss.mean).then(a.feature.cmp(&b.feature)));
    Ok(importances)
}
