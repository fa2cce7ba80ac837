//! False alarms on missing values and slow drift.

use std::collections::BTreeSet;

use contract::score::{EntityScore, Verdict};
use frames::FeatureTable;
use models::{ScoreOptions, ScoreState};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{OPTIONS, bundle_of, parts};

/// Scores one part with a model of the other: returns the share of normal rows with an alarm, and
/// the number of faults with one.
fn alarmed(train: &FeatureTable, test: &FeatureTable) -> (f64, usize) {
    let options = ScoreOptions { min_completeness: 0.0, threads: 1 };
    let scores = bundle_of(train, 1).score(test, &mut ScoreState::default(), options).unwrap();
    let labels = test.labels.as_ref().unwrap();
    let rows = || labels.scenario.iter().zip(&scores);
    let normal = || rows().filter(|(scenario, _)| scenario.is_empty());
    let is_alarm = |score: &EntityScore| score.verdict == Verdict::Anomalous;
    let false_alarms = normal().filter(|(_, score)| is_alarm(score)).count();
    let found: BTreeSet<&String> = rows()
        .filter(|(name, score)| !name.is_empty() && is_alarm(score))
        .map(|(name, _)| name)
        .collect();
    (false_alarms as f64 / normal().count() as f64, found.len())
}

#[test]
fn missing_every_third_minute_raises_few_alarms() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut noise = [0.0_f64; 3];
    let whole = parts([1200, 1500], |minute| {
        noise.iter_mut().for_each(|noise| *noise = 0.8 * *noise + random.random_range(-5.0..5.0));
        let wave = 20.0 * (minute as f64 / 229.0).sin();
        [100.0 + wave + noise[0], 50.0 + noise[1].abs(), 1000.0 - wave + noise[2]]
    });
    // Compares a row that is left out, as by a source that does not reply, with an empty row, as on
    // the grid.
    let mut absent = |part: &FeatureTable| {
        let there: Vec<usize> =
            (0..part.rows()).filter(|_| random.random_range(0..3) > 0).collect();
        part.select(&there)
    };
    let thinned = [absent(&whole[0]), absent(&whole[1])];
    let emptied = [0, 1].map(|part| {
        let mut emptied: FeatureTable = whole[part].clone();
        for row in 0..emptied.rows() {
            if random.random_range(0..3) == 0 {
                emptied.table.columns.iter_mut().for_each(|column| column.values[row] = f64::NAN);
            }
        }
        emptied
    });
    for (name, train, test) in [
        ("none", &whole[0], &whole[1]),
        ("rows of the later part", &whole[0], &thinned[1]),
        ("rows of both", &thinned[0], &thinned[1]),
        ("values of the later part", &whole[0], &emptied[1]),
        ("values of both", &emptied[0], &emptied[1]),
    ] {
        let (false_alarms, found) = alarmed(train, test);
        assert!(false_alarms <= 0.015, "missing: {name}: {false_alarms}");
        assert!(found >= 4, "missing: {name}: {found} of 5 faults");
    }
}

#[test]
fn permanently_missing_column_raises_few_alarms_and_is_named() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut noise = [0.0_f64; 3];
    let [train, mut test] = parts([1200, 1500], |minute| {
        noise.iter_mut().for_each(|noise| *noise = 0.8 * *noise + random.random_range(-5.0..5.0));
        let wave = 20.0 * (minute as f64 / 229.0).sin();
        [100.0 + wave + noise[0], 50.0 + noise[1].abs(), 1000.0 - wave + noise[2]]
    });
    test.table.columns[0].values[100..].fill(f64::NAN);
    let (false_alarms, _) = alarmed(&train, &test);
    assert!(false_alarms <= 0.015, "{false_alarms}");
    let scores = bundle_of(&train, 1).score(&test, &mut ScoreState::default(), OPTIONS).unwrap();
    assert!(scores[..115].iter().all(|score| score.missing.is_empty()));
    assert!(scores[120..].iter().all(|score| score.missing == ["latency"]));
    let blamed = scores[120..].iter().flat_map(|score| &score.causes);
    assert!(blamed.clone().all(|cause| cause.feature != "latency"), "never a cause");
}

#[test]
fn slow_drift_of_a_few_hundred_rows_does_not_alarm() {
    const WALKS: u64 = 12;
    let (mut false_alarms, mut found) = (0.0, 0);
    for seed in 1..=WALKS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut levels = [0.0_f64; 3];
        let [train, test] = parts([300, 1500], |_| {
            levels.iter_mut().for_each(|level| *level += random.random_range(-2.0..2.0));
            levels.map(|level| level + random.random_range(-2.0..2.0))
        });
        let of_walk = alarmed(&train, &test);
        false_alarms += of_walk.0 / WALKS as f64;
        found += of_walk.1;
    }
    assert!(false_alarms <= 0.1, "{false_alarms}");
    assert!(found >= 50, "{found} of 60 faults");
}
