//! Compares models of labelled classes with scikit-learn and linfa, and tests their properties.
#![expect(clippy::unwrap_used, reason = "a test may")]

use detectors::class_trees::ClassWeights;
use detectors::class_trees::{Calibration, Classes};
use detectors::decision_tree::fit::DecisionTreeParams;
use detectors::diagnosis::fit::DiagnoseParams;
use detectors::fit::FitError;
use detectors::fit::FitOptions;
use detectors::fit::labelled::Labelled;
use detectors::random_forest::fit::{ForestOptions, RandomForestParams};
use detectors::settings::{DecisionTree, Diagnose, RandomForest};
use linfa::dataset::DatasetBase;
use linfa::traits::{Fit as _, Predict as _};
use linfa::{Error, ParamGuard as _};
use models::{ClassTrees, Detector as _, Diagnosis};
use ndarray::{Array1, Array2, Axis};
use proptest::prelude::*;
use serde_json::Value;

type Rows = DatasetBase<Array2<f64>, Array1<usize>>;

struct Reference {
    json: Value,
    train: Rows,
    test: Rows,
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn table(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(numbers).collect();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

fn reference() -> Reference {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/labelled.json");
    let json: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
    let part = |rows: &str, classes: &str| {
        let classes = numbers(&json[classes]).into_iter().map(models::reference::whole).collect();
        DatasetBase::new(table(&json[rows]), classes)
    };
    Reference { train: part("train", "target"), test: part("test", "expected"), json }
}

fn classes() -> Classes {
    let names = ["cpu", "memory", "normal"].map(str::to_owned).to_vec();
    Classes { names, normal: vec![false, false, true] }
}

fn tree(settings: DecisionTree, rows: &Rows) -> Result<ClassTrees, FitError> {
    DecisionTreeParams::new(settings, classes()).check()?.fit(rows)
}

fn forest(settings: RandomForest, seed: u64, rows: &Rows) -> Result<ClassTrees, FitError> {
    RandomForestParams::new(settings, forest_options(seed, 2)).check()?.fit(rows)
}

fn small_forest() -> RandomForest {
    RandomForest { trees: 20, ..RandomForest::default() }
}

fn shares(model: &ClassTrees, rows: &Array2<f64>) -> Vec<f64> {
    rows.rows().into_iter().flat_map(|row| model.mean_shares(&row.to_vec())).collect()
}

fn worst_difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn a_decision_tree_gives_the_probabilities_of_scikit_learn() {
    let reference = reference();
    for case in reference.json["decision_tree"].as_array().unwrap() {
        let settings = DecisionTree {
            max_depth: u32::try_from(case["max_depth"].as_u64().unwrap()).unwrap(),
            min_leaf_rows: u32::try_from(case["min_leaf_rows"].as_u64().unwrap()).unwrap(),
            class_weights: serde_json::from_value(case["class_weights"].clone()).unwrap(),
        };
        let model = tree(settings.clone(), &reference.train).unwrap();
        let expected: Vec<f64> = table(&case["probability"]).into_iter().collect();
        let difference = worst_difference(&shares(&model, &reference.test.records), &expected);
        assert!(difference < 1e-6, "{settings:?}: {difference}");
        let difference = worst_difference(model.importance(), &numbers(&case["importance"]));
        assert!(difference < 1e-9, "importance: {difference}");
    }
}

#[test]
fn a_random_forest_is_that_of_scikit_learn_within_the_noise_of_seeds() {
    let reference = reference();
    let expected = &reference.json["random_forest"];
    let settings = RandomForest { class_weights: ClassWeights::Rows, ..RandomForest::default() };
    let test = &reference.test.records;
    let (mut sums, mut importance, mut right) = (vec![0.0; 3 * test.nrows()], vec![0.0; 6], 0.0);
    for seed in 0..20 {
        let model = forest(settings.clone(), seed, &reference.train).unwrap();
        let said = shares(&model, test);
        let hits = said.chunks(3).zip(&reference.test.targets).filter(|(shares, class)| {
            shares
                .iter()
                .enumerate()
                .all(|(other, share)| other == **class || *share < shares[**class])
        });
        right += hits.count() as f64 / test.nrows() as f64 / 20.0;
        sums.iter_mut().zip(said).for_each(|(sum, share)| *sum += share / 20.0);
        importance.iter_mut().zip(model.importance()).for_each(|(sum, share)| *sum += share / 20.0);
    }
    let probabilities: Vec<f64> = table(&expected["mean_probability"]).into_iter().collect();
    let difference = worst_difference(&sums, &probabilities);
    assert!(difference < 0.06, "mean probabilities differ by {difference}");
    let difference = worst_difference(&importance, &numbers(&expected["importance"]));
    assert!(difference < 0.01, "importance differs by {difference}");
    let (mean, deviation) = (
        expected["accuracy_mean"].as_f64().unwrap(),
        expected["accuracy_deviation"].as_f64().unwrap(),
    );
    assert!((right - mean).abs() < deviation, "{right}, not {mean} +- {deviation}");
}

#[test]
fn a_decision_tree_decides_as_linfa_does() {
    let reference = reference();
    // Two classes: with more, linfa's sums depend on the order of a hash map.
    let two = |rows: &Rows| {
        DatasetBase::new(rows.records.clone(), rows.targets.mapv(|class| usize::from(class > 0)))
    };
    let (train, test) = (two(&reference.train), two(&reference.test));
    let settings =
        DecisionTree { max_depth: 5, min_leaf_rows: 4, class_weights: ClassWeights::Rows };
    let ours = tree(settings, &train).unwrap();
    let theirs: Result<linfa_trees::DecisionTree<f64, usize>, Error> =
        linfa_trees::DecisionTree::params().max_depth(Some(5)).min_weight_leaf(4.0).fit(&train);
    let expected = theirs.unwrap().predict(&test);
    let rows = test.records.rows().into_iter().zip(expected);
    let same = rows.filter(|(row, expected)| {
        let shares = ours.mean_shares(&row.to_vec());
        usize::from(shares[1] > shares[0]) == *expected
    });
    // linfa sums in single precision, which may decide between two splits that are nearly as good.
    assert!(same.count() as f64 >= 0.95 * test.records.nrows() as f64);
}

#[test]
fn a_model_comes_back_from_its_file_to_the_last_bit_on_any_number_of_threads() {
    let reference = reference();
    let calibration = Calibration { smoothing: 0.01, exponent: 1.5 };
    for model in [
        tree(DecisionTree::default(), &reference.train).unwrap(),
        forest(small_forest(), 3, &reference.train).unwrap(),
    ] {
        let model = model.calibrated(calibration).unwrap();
        let bytes = models::save(&model).unwrap();
        let back = models::load(model.kind(), &bytes).unwrap();
        assert_eq!(models::save(&*back).unwrap(), bytes);
        let scores = model.decision(reference.test.records.view(), 1);
        assert_eq!(back.decision(reference.test.records.view(), 3), scores);
        for (row, score) in reference.test.records.rows().into_iter().zip(scores) {
            let probabilities = model.probabilities(&row.to_vec());
            assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!((score - probabilities[0] - probabilities[1]).abs() < 1e-12);
        }
    }
    let save = |threads| {
        let params = RandomForestParams::new(small_forest(), forest_options(3, threads));
        models::save(&params.fit(&reference.train).unwrap()).unwrap()
    };
    assert_eq!(save(1), save(2));
    assert_eq!(save(1), save(5));
}

#[test]
fn a_mangled_file_is_refused_and_never_panics() {
    let reference = reference();
    let bytes = models::save(&forest(small_forest(), 3, &reference.train).unwrap()).unwrap();
    let mut refused = 0;
    for step in 0..400 {
        let mut bytes = bytes.clone();
        let place = step * 7919 % bytes.len();
        bytes[place] ^= 1 << (step % 8);
        if let Ok(model) = models::load("random_forest", &bytes) {
            let scores = model.decision(reference.test.records.view(), 1);
            assert!(scores.iter().all(|score| (0.0..=1.000_001).contains(score)));
        } else {
            refused += 1;
        }
    }
    assert!(refused > 40, "{refused} of 400 were refused");
}

#[test]
fn rows_that_nothing_can_be_learned_from_are_refused() {
    let fit = |values: Array2<f64>, targets: Vec<usize>| {
        let rows = DatasetBase::new(values, Array1::from(targets));
        let tree = tree(DecisionTree::default(), &rows).map(drop).unwrap_err().to_string();
        let forest = forest(small_forest(), 1, &rows).map(drop).unwrap_err().to_string();
        assert_eq!(tree, forest);
        tree
    };
    assert_eq!(fit(Array2::zeros((1, 3)), vec![0]), "1 rows to fit on, needed are 2");
    let one_class = fit(Array2::zeros((9, 3)), vec![1; 9]);
    assert_eq!(one_class, "the labelled rows are of 1 classes, needed are 2 to 100");
    assert_eq!(fit(Array2::zeros((9, 0)), vec![1; 9]), "the rows have no features");
    let gaps = Array2::from_elem((4, 2), f64::NAN);
    assert_eq!(fit(gaps, vec![0, 1, 0, 1]), "every feature of every row is a gap");
    let zero = RandomForest { split_columns: Some(0), ..small_forest() };
    let rows = DatasetBase::new(Array2::zeros((4, 2)), Array1::from(vec![0, 1, 0, 1]));
    let error = forest(zero, 1, &rows).unwrap_err().to_string();
    assert_eq!(error, "`split_columns` is 0, expected 1 or more");
}

#[test]
fn gaps_infinities_constants_and_copies_of_columns_are_no_obstacle() {
    let mut values = Array2::from_shape_fn((60, 6), |(row, column)| match column {
        0 | 1 => row as f64,
        2 => 7.0,
        3 if row % 2 == 0 => f64::NAN,
        4 if row % 3 == 0 => f64::NEG_INFINITY,
        5 => 1e300 * if row % 2 == 0 { 1.0 } else { -1.0 },
        _ => (row as f64).sin(),
    });
    let targets: Array1<usize> = (0..60).map(|row| usize::from(row >= 30)).collect();
    let rows = DatasetBase::new(values.clone(), targets);
    values.row_mut(0).fill(f64::NAN);
    values.row_mut(1).fill(f64::INFINITY);
    for model in
        [tree(DecisionTree::default(), &rows).unwrap(), forest(small_forest(), 1, &rows).unwrap()]
    {
        let scores = model.decision(values.view(), 1);
        assert!(scores.iter().all(|score| (0.0..=1.000_001).contains(score)), "{scores:?}");
        assert!(model.importance()[2].abs() < 1e-12, "a constant column splits nothing");
        assert!(model.importance()[0] + model.importance()[1] > 0.5);
        let called: Vec<bool> =
            (2..60).map(|row| model.mean_shares(&values.row(row).to_vec())[1] > 0.5).collect();
        assert_eq!(called, (2..60).map(|row| row >= 30).collect::<Vec<_>>());
    }
    // No column distinguishes the rows: the tree is a leaf with the share of each class.
    let constant = DatasetBase::new(Array2::ones((8, 2)), (0..8).map(|row| row % 2).collect());
    let model = tree(DecisionTree::default(), &constant).unwrap();
    assert!(worst_difference(&model.mean_shares(&[5.0, 5.0]), &[0.5, 0.5, 0.0]) < 1e-6);
    assert!(model.importance().iter().all(|share| share.abs() < 1e-12));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn only_the_order_of_values_counts(
        seed in 0..1000_u64,
        powers in prop::collection::vec(-30..30_i32, 6),
        shifts in prop::collection::vec(-8..8_i32, 6),
    ) {
        // Multiples of 1/1024, multiplied by powers of two and shifted by whole numbers: nothing is
        // rounded.
        let reference = reference();
        let moved = |rows: &Array2<f64>| {
            let mut rows = rows.clone();
            for (mut column, (power, shift)) in rows.columns_mut().into_iter().zip(powers.iter().zip(&shifts)) {
                column.mapv_inplace(|value| (value + f64::from(*shift)) * 2.0_f64.powi(*power));
            }
            rows
        };
        let other = DatasetBase::new(moved(&reference.train.records), reference.train.targets.clone());
        let test = &reference.test.records;
        let settings = RandomForest { trees: 5, ..RandomForest::default() };
        let pairs = [
            (forest(settings.clone(), seed, &reference.train).unwrap(), forest(settings, seed, &other).unwrap()),
            (tree(DecisionTree::default(), &reference.train).unwrap(), tree(DecisionTree::default(), &other).unwrap()),
        ];
        for (one, other) in pairs {
            prop_assert_eq!(one.decision(test.view(), 1), other.decision(moved(test).view(), 1));
        }
    }

    #[test]
    fn the_order_of_rows_matters_neither_in_fitting_a_tree_nor_in_scoring(order in Just((0..481).collect::<Vec<usize>>()).prop_shuffle()) {
        let reference = reference();
        let turned = DatasetBase::new(
            reference.train.records.select(Axis(0), &order),
            order.iter().map(|row| reference.train.targets[*row]).collect::<Array1<usize>>(),
        );
        let settings = DecisionTree { class_weights: ClassWeights::Balanced, ..DecisionTree::default() };
        let model = tree(settings.clone(), &reference.train).unwrap();
        prop_assert_eq!(models::save(&tree(settings, &turned).unwrap()).unwrap(), models::save(&model).unwrap());
        let scores = model.decision(reference.train.records.view(), 2);
        let expected: Vec<f64> = order.iter().map(|row| scores[*row]).collect();
        prop_assert_eq!(model.decision(turned.records.view(), 1), expected);
    }
}

/// Runs of three kinds of faults, each of which raises two different columns; ten rows each.
fn faults(kinds: &[(&str, usize)]) -> Labelled {
    let mut names = vec!["cpu", "disk", "memory", "normal"];
    names.retain(|name| *name == "normal" || kinds.iter().any(|(kind, _)| kind == name));
    let (mut values, mut class, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    let mut add = |name: &str, run: String, lifted: &[usize]| {
        let row = class.len() as f64;
        for column in 0..6 {
            let noise = ((row + 1.0) * (column as f64 + 2.0) * 1.7).sin();
            values.push(
                100.0 + noise + if lifted.contains(&column) { 40.0 + 4.0 * noise } else { 0.0 },
            );
        }
        class.push(names.iter().position(|other| *other == name).unwrap());
        runs.push(run);
    };
    (0..60).for_each(|row| add("normal", format!("normal {}", row / 12), &[]));
    for (kind, count) in kinds {
        let lifted = match *kind {
            "cpu" => [0, 1],
            "disk" => [2, 3],
            _ => [4, 5],
        };
        (0..*count)
            .for_each(|run| (0..10).for_each(|_| add(kind, format!("{kind} {run}"), &lifted)));
    }
    let normal = names.iter().map(|name| *name == "normal").collect();
    Labelled {
        values: Array2::from_shape_vec((class.len(), 6), values).unwrap(),
        classes: Classes { names: names.into_iter().map(str::to_owned).collect(), normal },
        class,
        runs,
    }
}

fn forest_options(seed: u64, threads: usize) -> ForestOptions {
    let fit = FitOptions { seed, threads };
    ForestOptions { classes: classes(), fit, rows_of_a_tree: None }
}

fn second_stage() -> DiagnoseParams {
    let settings = Diagnose { random_forest: small_forest(), ..Diagnose::default() };
    DiagnoseParams::new(settings, FitOptions { seed: 3, threads: 2 })
}

#[test]
fn second_stage_names_known_kinds_and_calls_others_unknown() {
    let fitted = second_stage().fit(&faults(&[("cpu", 3), ("disk", 2), ("memory", 1)])).unwrap();
    assert_eq!(fitted.model.kinds(), ["cpu", "disk", "memory"]);
    let lifted = |columns: &[usize]| {
        let row: Vec<f64> =
            (0..6).map(|column| if columns.contains(&column) { 142.0 } else { 100.2 }).collect();
        fitted.model.diagnose(&row)
    };
    for (columns, kind) in [([0, 1], "cpu"), ([2, 3], "disk"), ([4, 5], "memory")] {
        let said = lifted(&columns);
        assert_eq!((said.kind.as_str(), said.nearest.as_str()), (kind, kind), "{said:?}");
        assert!(said.probability > 0.8 && said.likeness > 0.8, "{said:?}");
    }
    // A decrease is none of the faults, which all are increases, whatever the forest predicts.
    let said = fitted.model.diagnose(&[60.0, 60.0, 60.0, 60.0, 60.0, 60.0]);
    assert_eq!(said.kind, "unknown", "{said:?}");
    assert!(said.likeness < 0.0);
    let back = Diagnosis::load(&fitted.model.save().unwrap()).unwrap();
    assert_eq!(back, fitted.model);
    // Missing and extreme values are unlike any kind.
    for row in [[f64::NAN; 6], [f64::NEG_INFINITY; 6], [1e308; 6]] {
        let said = fitted.model.diagnose(&row);
        assert_eq!(said.kind, "unknown", "{said:?}");
        assert!((0.0..=1.0).contains(&said.probability) && said.likeness.abs() <= 1.0, "{said:?}");
    }
}

#[test]
fn a_run_left_out_is_named_by_the_others_and_unknown_without_any() {
    let figures =
        second_stage().fit(&faults(&[("cpu", 3), ("disk", 2), ("memory", 1)])).unwrap().figures;
    assert_eq!((figures.rows.folds, figures.rows.rows), (6, 50), "{figures:?}");
    assert!(figures.rows.accuracy > 0.99, "{figures:?}");
    assert_eq!(figures.rows.confusion["memory"]["unknown"], 10, "{figures:?}");
    let run = figures.runs.iter().find(|run| run.run == "memory 0").unwrap();
    assert_eq!((run.known, run.called.as_str()), (false, "unknown"));
    assert!((run.right - 1.0).abs() < 1e-12);
}

#[test]
fn a_single_kind_of_fault_is_refused() {
    let error = second_stage().fit(&faults(&[("cpu", 3)])).unwrap_err().of_model("diagnose");
    assert_eq!(error.kind.exit_code(), 3);
    assert!(error.message.contains("of 1 classes"), "{}", error.message);
}
