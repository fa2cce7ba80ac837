//! A second kind that scores rows in the order of time: nothing but its own code names it.

use std::collections::BTreeMap;

use contract::bundle::{CandidateManifest, FileRecord, Provenance};
use contract::rules::{Combine, QuantileThreshold, Threshold, Vote};
use contract::score::Verdict;
use contract::tensors::{Arrays, Numbers, Record};
use contract::{
    Decimal, FeatureColumn, FeatureContract, Span, StepError, Tensors, Timestamp, artifact,
};
use detectors::adaptive::{Adaptive, Distance, Extremes, Following, Gate, Long};
use detectors::sequence::{DynMemory, Memory, Sequence, SequenceReader, Step, Training};
use detectors::{detector, sequence};
use frames::FeatureTable;

use super::{ScoreOptions, ScoreState};
use crate::assemble::assemble;
use crate::candidate::Candidate;
use crate::{Bundle, Model, Recipe, matrix};

/// The departure of a row from the EWMA of those before.
#[derive(Debug)]
struct Ewma {
    rate: f64,
}

/// The EWMA of each column; empty before the first row.
#[derive(Debug, Clone, PartialEq, Default)]
struct Watched {
    time_ms: Option<i64>,
    levels: Vec<f64>,
    departures: Vec<f64>,
    alarmed: bool,
}

impl Record for Watched {
    fn to_arrays(&self) -> Arrays {
        Arrays::default()
            .with("time_ms", Numbers::I64(self.time_ms.into_iter().collect()))
            .with("levels", Numbers::F64(self.levels.clone()))
            .with("departures", Numbers::F64(self.departures.clone()))
            .with("alarmed", Numbers::U8(vec![u8::from(self.alarmed)]))
    }

    fn from_arrays(arrays: &mut Arrays) -> Result<Self, StepError> {
        Ok(Self {
            time_ms: arrays.take_i64("time_ms")?.first().copied(),
            levels: arrays.take_f64("levels")?,
            departures: arrays.take_f64("departures")?,
            alarmed: arrays.take_flag("alarmed")?,
        })
    }
}

impl Memory for Watched {
    fn time_ms(&self) -> Option<i64> {
        self.time_ms
    }
}

impl Sequence for Ewma {
    type Memory = Watched;

    const KIND: &'static str = "ewma";
    const RECORDS: &'static str = "ewma_levels";

    fn read(tensors: &mut Tensors) -> Result<Self, StepError> {
        Ok(Self { rate: tensors.take_number("rate")? })
    }

    fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::default();
        tensors.insert_f64("rate", &[1], vec![self.rate]);
        tensors
    }

    fn columns(&self) -> usize {
        2
    }

    fn is_ratio_scaled(&self) -> bool {
        false
    }

    fn fresh(&self) -> Watched {
        Watched::default()
    }

    fn step(&self, memory: &mut Watched, time_ms: i64, values: &[f64]) -> Step {
        if memory.levels.is_empty() {
            memory.levels = values.to_vec();
        }
        memory.time_ms = Some(time_ms);
        memory.departures = values.iter().zip(&memory.levels).map(|(v, l)| (v - l).abs()).collect();
        let pairs = memory.levels.iter_mut().zip(values);
        pairs.for_each(|(level, value)| *level += self.rate * (value - *level));
        Step { decision: memory.departures.iter().copied().fold(0.0, f64::max), open: true }
    }

    fn judged(&self, memory: &mut Watched, alarmed: bool) {
        memory.alarmed = alarmed;
    }

    fn attribution(&self, memory: &Watched) -> Vec<f64> {
        detector::shares(memory.departures.clone())
    }
}

/// A model of one row, without windows.
fn adaptive() -> Adaptive {
    let following = Following {
        step_ms: 60_000,
        centre: vec![0.0; 2],
        scale: vec![1.0; 2],
        constant: Vec::new(),
        mean_rate: 0.01,
        variance_rate: 0.01,
        deviation_floor: 0.5,
        cap: 3.5,
        clip: 30.0,
        windows: Vec::new(),
        gate_windows: Vec::new(),
        gate_rows: 1,
        stay_rows: 0,
    };
    let distance = Distance::new(vec![0.0; 2], vec![1.0; 2], vec![1.0, 0.0, 1.0]).unwrap();
    let gate = Gate { distance: distance.clone(), threshold: 0.0 };
    let extremes = Extremes::default();
    let long = Long { distance, most_above_short: f64::INFINITY, extremes };
    Adaptive::new(following, long, gate, None).unwrap()
}

/// Minutes of two entities; from minute 60 on the second column of `b` is far off.
fn table(first: usize, minutes: usize) -> FeatureTable {
    let column = |name: &str| FeatureColumn {
        name: name.to_owned(),
        unit: String::new(),
        formula: "raw".to_owned(),
    };
    let contract = FeatureContract {
        format: FeatureContract::FORMAT,
        step: Span::from_seconds(60),
        lookback: Span::ZERO,
        fill: "none".to_owned(),
        columns: ["load", "memory"].map(column).to_vec(),
    };
    let mut table = frames::Table::empty(["load", "memory"]);
    let entities = ["a", "b"].map(|name| table.entity_index(name));
    for minute in first..first + minutes {
        for (number, entity) in entities.iter().enumerate() {
            table.times.push(Timestamp::from_ms(60_000 * i64::try_from(minute).unwrap()));
            table.entity.push(*entity);
            let odd = number == 1 && minute >= 60;
            // A minute that is more restless than the others keeps the thresholds above them.
            let most = if minute == 30 { 2.0 } else { 0.0 };
            let noise = |factor: usize| ((minute * factor + number) % 7) as f64 / 7.0 + most;
            table.columns[0].values.push(noise(3));
            table.columns[1].values.push(noise(5) + if odd { 20.0 } else { 0.0 });
        }
    }
    let rows = table.rows();
    FeatureTable { contract, table, warm_up: vec![false; rows], labels: None }
}

/// A candidate of a model that has seen the rows, as fitting would leave it.
fn candidate<S: Sequence>(model: S, rows: &FeatureTable) -> Candidate {
    let values = matrix(rows);
    let mut training = Training::<S::Memory> { scores: BTreeMap::new(), memories: BTreeMap::new() };
    for row in 0..rows.rows() {
        let entity = rows.table.entity_of(row).to_owned();
        let memory = training.memories.entry(entity.clone()).or_insert_with(|| model.fresh());
        let step = model.step(memory, rows.table.times[row].ms(), &values.row(row).to_vec());
        training.scores.entry(entity).or_default().push(step.decision);
    }
    // As it is stored, and read again.
    let bytes = training.to_bytes().unwrap();
    let training = (SequenceReader::of::<S>().training)(&bytes).unwrap();
    let bytes = model.tensors().encode(S::KIND).unwrap();
    let file = FileRecord { file: "model".to_owned(), sha256: artifact::sha256(&bytes) };
    let manifest = CandidateManifest {
        format: CandidateManifest::FORMAT,
        kind: S::KIND.to_owned(),
        seed: 7,
        parameters: serde_json::json!({}),
        contract_sha256: rows.contract.sha256().unwrap(),
        rows: rows.rows() as u64,
        trials: Vec::new(),
        cross_validation: None,
        training: None,
        model: file,
    };
    let loaded = Model::Sequence(Box::new(model));
    Candidate { manifest, model: bytes, loaded, training: Some(training) }
}

fn bundle() -> Bundle {
    let rows = table(0, 50);
    let threshold = Threshold::Quantile(QuantileThreshold { share: 0.99 });
    let recipe = Recipe {
        pipeline: "two".to_owned(),
        vote: Vote {
            combine: Combine::Votes,
            alarm_at: Decimal::ONE,
            threshold,
            ..Vote::default()
        },
        normal: vec!["normal".to_owned()],
        provenance: Provenance {
            version: "0".to_owned(),
            dataset_sha256: "0".repeat(64),
            train_start: rows.table.times[0],
            train_end: rows.table.times[99],
            train_rows: 100,
        },
        threads: 1,
    };
    let candidates = vec![candidate(adaptive(), &rows), candidate(Ewma { rate: 0.1 }, &rows)];
    assemble(candidates, &rows, recipe).unwrap()
}

const OPTIONS: ScoreOptions = ScoreOptions { min_completeness: 0.0, threads: 1 };

/// Writes a state and reads it again, by both kinds.
fn stored(state: &ScoreState) -> ScoreState {
    let mut tensors = Tensors::default();
    state.write("state.", &mut tensors).unwrap();
    let bytes = tensors.encode("test").unwrap();
    let mut tensors = Tensors::decode("test", &bytes).unwrap();
    let readers = [SequenceReader::of::<Adaptive>(), SequenceReader::of::<Ewma>()];
    let state = ScoreState::read_with(readers, "state.", &mut tensors).unwrap();
    tensors.finish().unwrap();
    state
}

#[test]
fn two_kinds_that_score_in_order_of_time_have_a_vote_and_a_memory_each() {
    let (bundle, mut state) = (bundle(), ScoreState::default());
    let scores = bundle.score(&table(50, 20), &mut state, OPTIONS).unwrap();
    // The first two rows of minute 60.
    let [usual, odd] = &scores[20..22] else { panic!("{} rows", scores.len()) };
    assert_eq!((usual.verdict, odd.verdict), (Verdict::Normal, Verdict::Anomalous));
    let kinds: Vec<(&str, bool)> =
        odd.members.iter().map(|member| (member.kind.as_str(), member.vote)).collect();
    assert_eq!(kinds, [("adaptive", true), ("ewma", true)]);
    let cause = &odd.causes[0];
    assert_eq!(cause.feature, "memory");
    assert!(cause.share > 0.5, "the mean of both kinds: {cause:?}");

    let records: Vec<&str> = state.memories.keys().copied().collect();
    assert_eq!(records, ["ewma_levels", "memories"]);
    let alarmed = |entity: &str| {
        let memory: &Watched = state.memories["ewma_levels"][entity].of().unwrap();
        memory.alarmed
    };
    assert!(alarmed("b") && !alarmed("a"), "each kind hears of the verdict");
    assert_eq!(state.last_time_ms(), Some(69 * 60_000));
}

#[test]
fn state_of_two_kinds_that_was_stored_goes_on_as_one_that_was_not() {
    let (bundle, mut state) = (bundle(), ScoreState::default());
    bundle.score(&table(50, 15), &mut state, OPTIONS).unwrap();
    let mut read = stored(&state);
    assert_eq!(read, state);
    let rest = table(65, 10);
    let after = bundle.score(&rest, &mut read, OPTIONS).unwrap();
    assert_eq!(after, bundle.score(&rest, &mut state, OPTIONS).unwrap());
    assert_eq!(read, state);
    // Four days later both are forgotten, and leave nothing in the state.
    let mut later = table(75 + 4 * 1440, 1);
    later.warm_up.fill(true);
    bundle.score(&later, &mut read, OPTIONS).unwrap();
    assert!(read.memories.is_empty(), "{:?}", read.memories);
}

#[test]
fn memory_of_another_kind_begins_anew() {
    let (model, other) = (Ewma { rate: 0.1 }, adaptive());
    let mut memory: DynMemory = other.fresh().into();
    let before = model.step(&mut model.fresh(), 60_000, &[1.0, 2.0]);
    let model: &dyn sequence::DynSequence = &model;
    assert!(model.attribution(&memory).is_empty());
    assert_eq!(model.step(&mut memory, 60_000, &[1.0, 2.0]), before);
    assert_eq!(memory.of::<Watched>().unwrap().levels, [1.0, 2.0]);
}

#[test]
fn kind_that_is_not_registered_is_refused() {
    let bytes = Ewma { rate: 0.1 }.tensors().encode("ewma").unwrap();
    let error = Model::load("ewma", &bytes).unwrap_err();
    assert!(error.message.contains("unknown kind of model `ewma`"), "{}", error.message);
}
