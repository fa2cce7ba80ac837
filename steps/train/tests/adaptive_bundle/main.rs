//! Bundles with the adaptive model: several entities, and corrupted files.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod false_alarms;
mod mangled;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use contract::artifact::sha256;
use contract::bundle::{CandidateManifest, FileRecord, Provenance};
use contract::rules::{Combine, FalseAlarmThreshold, Threshold, Vote};
use contract::score::{EntityScore, Verdict};
use contract::{Decimal, Span, Timestamp};
use detectors::adaptive::Memory;
use detectors::adaptive::fit::{AdaptiveParams, Order};
use detectors::settings::Adaptive as Settings;
use frames::{Dataset, FeatureTable, RowLabels, Table};
use linfa::ParamGuard as _;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use models::measure::normal_rows;
use models::{
    Bundle, CalibrationRows, Candidate, Model, Recipe, ScoreOptions, ScoreState, Training,
    assemble, assemble_sampled, matrix,
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use support::contract;

const STEP: Span = Span::from_seconds(60);
const ENTITIES: [&str; 2] = ["node-a", "node-b"];

/// Minutes of two nodes on different levels; the signals of the node in `odd` jump in minutes 40
/// to 60.
fn table(first: usize, minutes: usize, odd: Option<usize>) -> FeatureTable {
    let contract = contract(&["load", "memory"], "zero");
    let mut table = Table::empty(["load", "memory"]);
    let entities = ENTITIES.map(|name| table.entity_index(name));
    for minute in 0..minutes {
        for (node, entity) in entities.iter().enumerate() {
            let at = first + minute;
            let noise = |factor: usize| (at * factor + 31 * node) % 97;
            let jump = if odd == Some(node) && (40..60).contains(&minute) { 900.0 } else { 0.0 };
            table.times.push(Timestamp::from_ms(60_000 * i64::try_from(at).unwrap()));
            table.entity.push(*entity);
            table.columns[0].values.push(noise(7919) as f64 + jump);
            table.columns[1].values.push(noise(104_729) as f64 + 10.0 * node as f64);
        }
    }
    let rows = table.rows();
    FeatureTable { contract, table, warm_up: vec![false; rows], labels: None }
}

fn candidate(rows: &FeatureTable) -> (Vec<u8>, Training<Memory>) {
    let mut normal = vec![false; rows.rows()];
    normal_rows(rows, &["normal".to_owned()]).into_iter().for_each(|row| normal[row] = true);
    let order = Order {
        step: STEP,
        times: rows.table.times.clone(),
        entities: (0..rows.rows()).map(|row| rows.table.entity_of(row).to_owned()).collect(),
        normal,
    };
    let params = AdaptiveParams::new(Settings::default(), order).check().unwrap();
    let fitted = params.fit(&DatasetBase::from(matrix(rows))).unwrap();
    (Model::Sequence(Box::new(fitted.model)).save().unwrap(), fitted.training)
}

fn bundle(threads: usize) -> Bundle {
    bundle_of(&table(0, 600, None), threads)
}

/// A bundle that is fitted on the rows and calibrated on their last third.
fn bundle_of(rows: &FeatureTable, threads: usize) -> Bundle {
    let (candidate, recipe) = ingredients(rows, threads);
    assemble(vec![candidate], &last_third(rows), recipe).unwrap()
}

fn last_third(rows: &FeatureTable) -> FeatureTable {
    rows.select(&(rows.rows() * 2 / 3..rows.rows()).collect::<Vec<_>>())
}

/// Returns the parts of a bundle that is fitted on the rows.
fn ingredients(rows: &FeatureTable, threads: usize) -> (Candidate, Recipe) {
    let (model, training) = candidate(rows);
    let manifest = CandidateManifest {
        format: CandidateManifest::FORMAT,
        kind: "adaptive".to_owned(),
        seed: 7,
        parameters: serde_json::json!({}),
        contract_sha256: rows.contract.sha256().unwrap(),
        rows: rows.rows() as u64,
        trials: Vec::new(),
        training: None,
        model: FileRecord { file: "model.safetensors".to_owned(), sha256: sha256(&model) },
        cross_validation: None,
    };
    let vote = Vote {
        combine: Combine::Votes,
        weights: BTreeMap::new(),
        learn_weights: false,
        best_by: None,
        alarm_at: Decimal::ONE,
        smoothing: Span::ZERO,
        threshold: Threshold::FalseAlarms(FalseAlarmThreshold::default()),
    };
    let recipe = Recipe {
        pipeline: "nodes".to_owned(),
        vote,
        normal: vec!["normal".to_owned()],
        provenance: Provenance {
            version: "0".to_owned(),
            dataset_sha256: String::new(),
            train_start: Timestamp::from_ms(0),
            train_end: Timestamp::from_ms(0),
            train_rows: 600,
        },
        threads,
    };
    (Candidate::new(manifest, model).unwrap().with_training(training), recipe)
}

#[test]
fn bundle_calibrated_on_a_sample_remembers_every_entity_and_advances_in_parts_as_in_one() {
    let rows = table(0, 600, None);
    let (candidate, recipe) = ingredients(&rows, 1);
    let calibration = last_third(&rows);
    let of_a: Vec<usize> = (0..calibration.rows())
        .filter(|row| calibration.table.entity_of(*row) == ENTITIES[0])
        .collect();
    let mut keys = calibration.clone();
    keys.table.columns.iter_mut().for_each(|column| column.values.clear());
    let sample = calibration.select(&of_a);
    let make = || {
        let (candidate, recipe) = ingredients(&rows, 1);
        let rows = CalibrationRows { sample: &sample, keys: &keys };
        assemble_sampled(vec![candidate], rows, recipe).unwrap()
    };
    let memory = |bundle: &Bundle| bundle.to_files().unwrap()[ScoreState::FILE].clone();
    let (mut at_once, mut in_parts) = (make(), make());
    let mut whole = assemble(vec![candidate], &calibration, recipe).unwrap();
    let test = table(600, 90, Some(1));
    at_once.advance(&test, 1).unwrap();
    whole.advance(&test, 1).unwrap();
    let parts: Vec<FeatureTable> = [0..33, 33..120, 120..180]
        .map(|rows: std::ops::Range<usize>| test.select(&rows.collect::<Vec<_>>()))
        .to_vec();
    in_parts.advance_over(1, |each| parts.iter().try_for_each(each)).unwrap();
    assert_eq!(memory(&in_parts), memory(&at_once));
    // The thresholds come from the training results of all entities, not from the sample.
    let states = |bundle: &Bundle| {
        let mut tensors = contract::Tensors::decode("memory", &memory(bundle)).unwrap();
        ["peaks", "alarm_rows"].map(|name| {
            let key = format!("alarms.adaptive.{name}");
            let shape = tensors.shape(&key).unwrap().to_vec();
            assert_eq!(shape[0], 2, "{key}");
            if name == "peaks" {
                tensors
                    .take_f32(&key, &shape)
                    .unwrap()
                    .into_iter()
                    .map(f64::from)
                    .collect::<Vec<_>>()
            } else {
                tensors.take_u32(&key, &shape).unwrap().into_iter().map(f64::from).collect()
            }
        })
    };
    assert_eq!(states(&at_once), states(&whole));
}

/// Minutes of three signals of one cluster, in two consecutive parts: `signals` returns their
/// values in each minute. In the second part there are five faults of 20 minutes.
fn parts(
    [first, second]: [usize; 2],
    mut signals: impl FnMut(usize) -> [f64; 3],
) -> [FeatureTable; 2] {
    let names = ["latency", "load", "memory"];
    let mut of_part = |start: usize, minutes: usize| {
        let mut table = Table::empty(names);
        let entity = table.entity_index("");
        for minute in start..start + minutes {
            table.times.push(Timestamp::from_ms(60_000 * i64::try_from(minute).unwrap()));
            table.entity.push(entity);
            for (column, value) in table.columns.iter_mut().zip(signals(minute)) {
                column.values.push(value);
            }
        }
        FeatureTable {
            contract: contract(&names, "none"),
            warm_up: vec![false; minutes],
            table,
            labels: None,
        }
    };
    let [train, mut test] = [(0, first), (first, second)].map(|(start, rows)| of_part(start, rows));
    let mut labels = RowLabels::default();
    for minute in 0..second {
        let fault = (second / 10..second)
            .step_by(second / 5)
            .position(|at| (at..at + 20).contains(&minute));
        if let Some(fault) = fault {
            test.table.columns[fault % 3].values[minute] += 60.0;
        }
        labels.label.push(if fault.is_some() { "fault" } else { "normal" }.to_owned());
        labels.scenario.push(fault.map(|number| format!("fault {number}")).unwrap_or_default());
        labels.excluded.push(false);
    }
    test.labels = Some(labels);
    [train, test]
}

const OPTIONS: ScoreOptions = ScoreOptions { min_completeness: 0.5, threads: 1 };

#[test]
fn each_entity_has_its_own_state() {
    let bundle = bundle(1);
    assert_eq!(bundle.to_files().unwrap(), self::bundle(2).to_files().unwrap(), "any threads");
    let table = table(600, 120, Some(1));
    let scores = bundle.score(&table, &mut ScoreState::default(), OPTIONS).unwrap();
    let alarmed = |node: usize| {
        let of_node = scores.iter().skip(node).step_by(ENTITIES.len());
        let minutes = of_node.enumerate().filter(|(_, score)| score.verdict == Verdict::Anomalous);
        minutes.map(|(minute, _)| minute).collect::<Vec<_>>()
    };
    assert_eq!(alarmed(0), Vec::<usize>::new(), "its neighbour is not well, it is");
    let found = alarmed(1);
    assert!(found.first().is_some_and(|minute| (40..=41).contains(minute)), "{found:?}");
    // Windows of half an hour still include it; without a row that is unusual by itself this is not
    // an alarm, and one row in twenty is unusual.
    let late = found.iter().filter(|minute| **minute > 62).count();
    assert!(late <= 6, "{found:?}");
    assert!(found.iter().filter(|minute| (40..60).contains(*minute)).count() >= 19, "{found:?}");

    // A node alone has the same scores as together with the other node.
    let only: Vec<usize> = (0..table.rows()).filter(|row| row % 2 == 1).collect();
    let alone = bundle.score(&table.select(&only), &mut ScoreState::default(), OPTIONS).unwrap();
    assert!(alone.iter().zip(scores.iter().skip(1).step_by(2)).all(|(a, b)| a == b));
}

#[test]
fn entity_absent_for_four_days_restarts() {
    let bundle = bundle(1);
    let other = |rows: FeatureTable| {
        rows.select(&(0..rows.rows()).filter(|row| row % 2 == 1).collect::<Vec<_>>())
    };
    let gone = other(table(700, 4 * 1440, None));
    let back = table(700 + 4 * 1440, 30, None);
    let after = |first: &FeatureTable| {
        let mut state = ScoreState::default();
        for rows in [first, &gone] {
            bundle.score(rows, &mut state, OPTIONS).unwrap();
        }
        let scores = bundle.score(&back, &mut state, OPTIONS).unwrap();
        let of_node = scores.into_iter().step_by(ENTITIES.len());
        of_node.map(|score| score.members[0].decision).collect::<Vec<f64>>()
    };
    let seen = after(&table(600, 100, Some(0)));
    assert_eq!(seen, after(&other(table(600, 100, None))), "nothing of it is remembered");
}

#[test]
fn labelled_faults_in_calibration_rows_do_not_raise_the_threshold() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut signals = |_| [0.0; 3].map(|_: f64| random.random_range(-5.0..5.0));
    let [_, mut rows] = parts([1, 3000], &mut signals);
    // Faults were removed from the rows that models are fitted on; one is left.
    let heal = |rows: &mut FeatureTable, fault: usize| {
        let minutes = 300 + 600 * fault..320 + 600 * fault;
        let values = &mut rows.table.columns[fault].values[minutes.clone()];
        values.iter_mut().for_each(|value| *value -= 60.0);
        if let Some(labels) = &mut rows.labels {
            labels.label[minutes].fill("normal".to_owned());
        }
    };
    heal(&mut rows, 0);
    heal(&mut rows, 1);
    let [fitted, later] = [0..2000, 2000..3000].map(|part| rows.select(&part.collect::<Vec<_>>()));
    // Returns how far above its threshold the last fault is, scored by a bundle of the first rows.
    let margin = |fitted: &FeatureTable| {
        let scores = bundle_of(fitted, 1).score(&later, &mut ScoreState::default(), OPTIONS);
        let fault = scores.unwrap().drain(700..720).collect::<Vec<EntityScore>>();
        let margins =
            fault.iter().map(|score| score.members[0].decision / score.members[0].threshold);
        margins.fold(0.0, f64::max)
    };
    let unlabelled = FeatureTable { labels: None, ..fitted.clone() };
    let mut quiet = unlabelled.clone();
    heal(&mut quiet, 2);
    let [knowing, deaf, quiet] = [&fitted, &unlabelled, &quiet].map(margin);
    assert!(knowing > 2.0 * deaf, "{knowing} {deaf} {quiet}");
    assert!((0.9..1.1).contains(&(knowing / quiet)), "{knowing} {deaf} {quiet}");
}

/// Figures of a replay of a data set, by part.
fn replayed(bundle: &Bundle, dataset: &Dataset) -> BTreeMap<&'static str, BTreeMap<String, f64>> {
    let mut figures = BTreeMap::new();
    let measure = |name, part: &_, before: &_| {
        figures.insert(name, bundle.measure(part, before, &["normal".to_owned()], 1)?);
        Ok(())
    };
    bundle.replay(dataset, 1, measure).unwrap();
    figures
}

#[test]
fn replay_of_the_test_part_gives_the_figures_of_live_scoring() {
    // The noise grows, so that a threshold which does not follow alarms more and more.
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let [rows, mut test] = parts([6000, 5000], |minute| {
        let growth = 1.0 + (minute as f64 / 2000.0).powi(2);
        [0.0; 3].map(|_: f64| growth * random.random_range(-5.0..5.0))
    });
    // An entity that training has not seen has a threshold that follows, too.
    test.table.entities = vec!["new".to_owned()];
    let known = FeatureTable { labels: None, ..test.clone() };
    for test in [test, known] {
        let mut bundle = bundle_of(&rows, 1);
        let dataset = Dataset {
            train: rows.select(&(0..4000).collect::<Vec<_>>()),
            validation: rows.select(&(4000..6000).collect::<Vec<_>>()),
            test: test.clone(),
        };
        let selected = replayed(&bundle, &dataset);

        // Live scoring, one row at a time.
        let mut state = ScoreState::default();
        let tick = |row: usize| bundle.score(&test.select(&[row]), &mut state, OPTIONS).unwrap();
        let live: Vec<Verdict> = (0..test.rows()).flat_map(tick).map(|s| s.verdict).collect();
        let batch = bundle.score(&test, &mut ScoreState::default(), OPTIONS).unwrap();
        assert!(batch.iter().map(|score| score.verdict).eq(live.iter().copied()));
        let whole = bundle.measure(&test, &ScoreState::default(), &["normal".to_owned()], 1);
        assert_eq!(
            selected["test"],
            whole.unwrap(),
            "what `select` says and what live scoring does"
        );
        assert!(live.contains(&Verdict::Anomalous), "the noise has grown");

        // The bundle as `deploy` reads it has moved to the end of the test part.
        bundle.advance(&test, 1).unwrap();
        let deployed = Bundle::from_files(&bundle.to_files().unwrap()).unwrap();
        assert_eq!(replayed(&deployed, &dataset), selected);
    }
}
