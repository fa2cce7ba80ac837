//! Compares the adaptive model with the same model computed with numpy (`data/make_adaptive.py`),
//! row by row.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;

use contract::rules::FalseAlarmThreshold;
use contract::{Span, Tensors, Timestamp};
use detectors::adaptive::fit::{AdaptiveParams, Fitted, Order};
use detectors::adaptive::{Adaptive, Memory};
use detectors::settings::Adaptive as Settings;
use linfa::ParamGuard as _;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use models::Sequence as _;
use models::alarm::{self, AlarmRule};
use models::threshold::Judged;
use ndarray::Array2;
use serde::Deserialize;

const STEP: Span = Span::from_seconds(60);

#[derive(Deserialize)]
struct Expected {
    train: Vec<Vec<f64>>,
    test: Vec<Vec<f64>>,
    training_scores: Vec<f64>,
    levels: contract::bundle::AlarmLevels,
    long: Vec<f64>,
    short: Vec<f64>,
    thresholds: Vec<f64>,
    alarms: Vec<bool>,
}

fn expected() -> Expected {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/adaptive.json");
    serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap()
}

fn minute(row: usize) -> Timestamp {
    Timestamp::from_ms(1_790_000_000_000 + 60_000 * i64::try_from(row).unwrap())
}

fn fit(rows: &[Vec<f64>], settings: Settings) -> Fitted {
    let order = Order {
        step: STEP,
        times: (0..rows.len()).map(minute).collect(),
        entities: vec![String::new(); rows.len()],
        normal: vec![true; rows.len()],
    };
    let values = rows.iter().flatten().copied().collect();
    let values = Array2::from_shape_vec((rows.len(), rows[0].len()), values).unwrap();
    AdaptiveParams::new(settings, order).check().unwrap().fit(&DatasetBase::from(values)).unwrap()
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-8
}

#[test]
fn memory_of_an_entity_with_25_columns_takes_less_than_2_kb_and_a_half() {
    let value = |row: usize, column: usize| ((row * (7 + column)) % 31) as f64;
    let rows: Vec<Vec<f64>> =
        (0..400).map(|row| (0..25).map(|column| value(row, column)).collect()).collect();
    let memory = fit(&rows, Settings::default()).training.memories.remove("").unwrap();
    let memories: BTreeMap<String, Memory> =
        (0..100).map(|node| (format!("node-{node:04}"), memory.clone())).collect();
    let mut tensors = Tensors::default();
    tensors.insert_records("memories", &memories).unwrap();
    let bytes = tensors.encode("memory").unwrap();
    assert!(bytes.len() <= 100 * 2500, "{} bytes for 100 entities", bytes.len());
    let mut tensors = Tensors::decode("memory", &bytes).unwrap();
    assert_eq!(tensors.take_records("memories").unwrap(), memories, "and nothing is lost");
}

#[test]
fn scores_levels_and_alarms_are_those_of_numpy() {
    let expected = expected();
    let Fitted { model, mut training } = fit(&expected.train, Settings::default());
    let scores = training.scores.remove("").unwrap();
    for (row, (found, expected)) in scores.iter().zip(&expected.training_scores).enumerate() {
        assert!(close(*found, *expected), "training row {row}: {found}, not {expected}");
    }
    let thresholds = FalseAlarmThreshold::default();
    let (levels, mut states) = alarm::calibrate(&thresholds, STEP, &[&scores]);
    for (found, expected) in [
        (levels.tail_start, expected.levels.tail_start),
        (levels.tail_scale, expected.levels.tail_scale),
        (levels.peaks_per_day, expected.levels.peaks_per_day),
        (levels.stay_below, expected.levels.stay_below),
    ] {
        assert!(close(found, expected), "{levels:?}");
    }
    let (mut memory, mut state) = (training.memories.remove("").unwrap(), states.remove(0));
    let rule = AlarmRule::new(&thresholds, levels, STEP);
    for (row, values) in expected.test.iter().enumerate() {
        let time = minute(expected.train.len() + row).ms();
        let step = model.step(&mut memory, time, values);
        let threshold = rule.threshold(&state);
        let alarmed = step.open && step.decision > threshold;
        let judged = Judged { score: step.decision, alarmed, open: step.open };
        rule.observe(&mut state, time, judged);
        model.judged(&mut memory, alarmed);
        assert!(close(step.decision, expected.long[row]), "row {row}: {}", step.decision);
        assert!(close(Adaptive::short_score(&memory).unwrap(), expected.short[row]), "row {row}");
        assert!(close(threshold, expected.thresholds[row]), "row {row}: {threshold}");
        assert_eq!(alarmed, expected.alarms[row], "row {row}");
    }
    assert!(expected.alarms.contains(&true));
}

#[test]
fn a_usual_level_is_followed_no_more_slowly_than_training_lasted() {
    let rows = expected().train;
    for (count, half_life_rows) in [(100, 240.0), (300, 300.0), (1600, 720.0)] {
        let model = fit(&rows[..count], Settings::default()).model;
        let rate = 1.0 - 0.5_f64.powf(1.0 / half_life_rows);
        assert!(close(model.following().mean_rate, rate), "{count} rows");
    }
}

#[test]
fn memory_read_back_from_tensors_scores_to_the_same_bits() {
    let expected = expected();
    let Fitted { model, mut training } = fit(&expected.train, Settings::default());
    let mut whole = training.memories.remove("").unwrap();
    let mut travelling = whole.clone();
    for (row, values) in expected.test.iter().enumerate() {
        // A few rows are missing, and a few values.
        if row % 17 == 3 {
            continue;
        }
        let mut values = values.clone();
        if row % 11 == 5 {
            values[row % 3] = f64::NAN;
        }
        let time = minute(expected.train.len() + row).ms();
        let mut tensors = Tensors::default();
        let name = "a".to_owned();
        tensors.insert_records("memories", [(&name, &travelling)]).unwrap();
        let bytes = tensors.encode("memory").unwrap();
        let mut tensors = Tensors::decode("memory", &bytes).unwrap();
        travelling = tensors.take_records("memories").unwrap().remove("a").unwrap();
        let steps = [&mut whole, &mut travelling].map(|memory| model.step(memory, time, &values));
        assert_eq!(steps[0].decision.to_bits(), steps[1].decision.to_bits(), "row {row}");
    }
    assert_eq!(whole, travelling);
}

#[test]
fn missing_row_is_replaced_by_the_last_and_a_long_gap_resets_state() {
    let rows = expected().train;
    let Fitted { model, mut training } = fit(&rows, Settings::default());
    let last = training.memories.remove("").unwrap();
    let decide = |memory: &mut Memory, at: usize, values: &[f64]| {
        model.step(memory, minute(rows.len() + at).ms(), values).decision
    };
    let (mut with_gap, mut filled) = (last.clone(), last.clone());
    let (first, next) = (&rows[10], &rows[11]);
    decide(&mut with_gap, 0, first);
    let after_gap = decide(&mut with_gap, 3, next);
    for at in [0, 1, 2] {
        decide(&mut filled, at, first);
    }
    assert_eq!(after_gap.to_bits(), decide(&mut filled, 3, next).to_bits());

    let nothing = [f64::NAN; 3];
    let mut blind = last.clone();
    let decisions: Vec<f64> = (0..40).map(|at| decide(&mut blind, at, &nothing)).collect();
    assert!(decisions.iter().all(|decision| decision.is_finite()));
    let mut later = last.clone();
    assert!(decide(&mut later, 5000, first).is_finite(), "after a long gap");
    assert!(decide(&mut later, 100, first).is_finite(), "back in time");
}

#[test]
fn slow_drift_learned_by_the_model_is_named() {
    let rows = expected().train;
    let Fitted { model, mut training } = fit(&rows, Settings::default());
    let mut memory = training.memories.remove("").unwrap();
    assert!(memory.drifting().is_empty());
    for row in 0..2880 {
        let mut values = rows[row % 1600].clone();
        values[1] += 4000.0 * (row.min(1440) as f64 / 1440.0);
        model.step(&mut memory, minute(rows.len() + row).ms(), &values);
    }
    assert_eq!(memory.drifting(), [1]);
}

#[test]
fn share_of_a_fault_is_given_to_its_signal() {
    let expected = expected();
    let Fitted { model, mut training } = fit(&expected.train, Settings::default());
    let mut memory = training.memories.remove("").unwrap();
    for (row, values) in expected.test[..110].iter().enumerate() {
        model.step(&mut memory, minute(expected.train.len() + row).ms(), values);
    }
    let shares = model.attribution(&memory);
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
    assert!(shares[0] > 0.5, "the first signal is off since row 100: {shares:?}");
}

#[test]
fn tiny_constant_and_empty_columns_are_harmless() {
    let rows: Vec<Vec<f64>> =
        (0..200).map(|row| vec![5.0, f64::NAN, 1e-30 * f64::from(row % 7)]).collect();
    let Fitted { model, mut training } = fit(&rows, Settings::default());
    let mut memory = training.memories.remove("").unwrap();
    let mut decide = |at: usize, values: [f64; 3]| {
        model.step(&mut memory, minute(200 + at).ms(), &values).decision
    };
    let usual = decide(0, [5.0, f64::NAN, 0.0]);
    let empty = decide(1, [5.0, 1e300, 0.0]);
    assert!(empty < usual + 1.0, "a column without training says nothing: {usual} {empty}");
    let moved = decide(2, [6.0, f64::NAN, 0.0]);
    assert!(moved > empty + 2.0, "a constant that moves scores: {empty} {moved}");
    let infinite = decide(3, [f64::INFINITY, f64::NEG_INFINITY, f64::MAX]);
    assert!(infinite.is_finite());
}
